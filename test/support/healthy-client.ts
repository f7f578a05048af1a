// What a client that does nothing wrong is answered, and how long it waits, on a new connection each time: the one who suffers first.

import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';

const waitMsMax = 30_000;

export type Waited = { readonly status: number; readonly ms: number };

export async function askOnce(http: string, path: string): Promise<Waited> {
  const fromMs = performance.now();
  const { hostname, port } = new URL(http);
  const agent = new Agent({ keepAlive: false });
  const asked = request({ hostname, port, path, agent, signal: AbortSignal.timeout(waitMsMax) });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  for await (const _ of response);
  return { status: response.statusCode ?? 0, ms: performance.now() - fromMs };
}

/** One request after the other, until the promise is settled or there are so many. */
export async function askAgainAndAgain(http: string, path: string, times: number): Promise<readonly Waited[]> {
  const all: Waited[] = [];
  for (let count = 0; count < times; count += 1) all.push(await askOnce(http, path));
  return all;
}
