// Says spoiled requests to a real process over connections that are kept, and looks at every answer and at the one behind it.

import fc from 'fast-check';
import { problemTypes } from '../../src/http/problems.ts';
import { Contract, readDocument } from './contract.ts';
import { type RawAnswer, RawHttp } from './raw-http.ts';
import { bytesOf, type FuzzRequest, type FuzzWorld, requestsFor } from './route-fuzz.ts';
import { allRoutes, type Route } from './route-table.ts';

export type FuzzSize = { readonly runsPerRoute: number; readonly seed?: number };
export type Fuzzed = {
  readonly requests: number;
  /** How many answers had which status. */
  readonly statuses: ReadonlyMap<number, number>;
  /** Answers that were what the document says, by operation and status. */
  readonly documented: ReadonlySet<string>;
};

/** What an answer never holds, in whatever words the request was put. */
const inside = /node_modules|\.[jt]s:\d|\bFST_|\bat \w+(\.\w+)* \(|SQLSTATE|syntax error at|ECONN|relation "/;
/** Of the metrics, and of the page that shows the API. */
const otherTypes = new Set(['text/plain', 'text/html']);
const problemSlugs = new Set(Object.keys(problemTypes));

/** All but the script of a package: five megabytes that are not ours to judge. */
export function routesToFuzz(): readonly Route[] {
  return allRoutes().filter(({ url }) => url !== '/docs/scalar.js');
}

/** Every route in its turn. Throws with the smallest request that is answered as none may be. */
export async function fuzzRoutes(
  http: string,
  routes: readonly Route[],
  world: FuzzWorld,
  size: FuzzSize,
): Promise<Fuzzed> {
  using client = new RawHttp(Number(new URL(http).port));
  const statuses = new Map<number, number>();
  const contract = new Contract(await readDocument());
  let requests = 0;
  for (const route of routes) {
    const property = fc.asyncProperty(requestsFor(route, world), async (request) => {
      requests += 1;
      const isHalfClosed = request.framing === 'cut off' && request.body !== null;
      const answer = await client.exchange(bytesOf(request), { isHead: request.method === 'HEAD', isHalfClosed });
      if (answer !== null) statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      checkAnswer(request, answer);
      if (answer !== null) checkContract(contract, request, answer);
      await checkStep(client, world, requests);
    });
    await fc.assert(property, { numRuns: size.runsPerRoute, ...(size.seed !== undefined && { seed: size.seed }) });
  }
  return { requests, statuses, documented: contract.seen };
}

/** What is answered to a HEAD has no body to look at. */
function checkContract(
  contract: Contract,
  { method, target }: FuzzRequest,
  { status, headers, body }: RawAnswer,
): void {
  if (method === 'HEAD') return;
  const complaint = contract.complaint(method, target, { status, contentType: headers['content-type'], headers, body });
  if (complaint !== null) throw new Error(`${method} ${target}: ${complaint}: ${body.slice(0, 2_000)}`);
}

/** Requests that are none any more: some of their bytes are others, are missing or come twice. */
export async function fuzzBytes(
  http: string,
  routes: readonly Route[],
  world: FuzzWorld,
  numRuns: number,
): Promise<Omit<Fuzzed, 'documented'>> {
  using client = new RawHttp(Number(new URL(http).port));
  const statuses = new Map<number, number>();
  let requests = 0;
  const request = fc.constantFrom(...routes).chain((route) => requestsFor(route, world));
  const changes = fc.array(fc.tuple(fc.nat(), fc.uint8Array({ maxLength: 4 }), fc.nat(3)), {
    minLength: 1,
    maxLength: 4,
  });
  const property = fc.asyncProperty(request, changes, async (whole, changed) => {
    requests += 1;
    let bytes = bytesOf(whole);
    for (const [place, others, removed] of changed) {
      const at = place % bytes.length;
      bytes = Buffer.concat([bytes.subarray(0, at), others, bytes.subarray(at + removed)]);
    }
    // With its end, so that nobody waits for the rest of what may be half a request now.
    const isHead = bytes.subarray(0, 5).toString('latin1') === 'HEAD ';
    const answer = await client.exchange(bytes, { isHead, isHalfClosed: true });
    if (answer !== null) statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
    checkAnswer({ ...whole, method: isHead ? 'HEAD' : 'GET', framing: 'cut off' }, answer);
    await checkStep(client, world, requests);
  });
  await fc.assert(property, { numRuns });
  return { requests, statuses };
}

function checkAnswer(request: FuzzRequest, answer: RawAnswer | null): void {
  if (answer === null) {
    // A request whose end never comes may find the connection closed.
    if (request.framing === 'cut off') return;
    throw new Error('no answer');
  }
  const { status, headers, body } = answer;
  const fail = (why: string): never => {
    throw new Error(`${why}: ${status} ${JSON.stringify(headers)} ${body.slice(0, 2_000)}`);
  };
  if (status === 500) fail('a defect');
  if (headers['x-content-type-options'] !== 'nosniff') fail('an answer without the headers of all answers');
  if (inside.test(body)) fail('something of the inside');
  const type = headers['content-type'];
  if (status < 400) {
    if (body !== '' && type?.startsWith('application/json') === true) JSON.parse(body);
    else if (body !== '' && !otherTypes.has(type?.split(';')[0] ?? '')) fail('an answer of another kind');
    return;
  }
  if (type !== 'application/problem+json; charset=utf-8') fail('no problem');
  if (body === '') return request.method === 'HEAD' ? undefined : fail('an empty problem');
  const problem = JSON.parse(body) as { type: string; status: number; title: string };
  const slug = problem.type.replace(/^urn:willow:problem:/u, '');
  if (!problemSlugs.has(slug) || problem.status !== status || problem.title.length === 0) fail('no problem of ours');
}

/** Whatever was said before, the next answer on the connection is that of the next request. */
async function checkStep(client: RawHttp, { apiKey }: FuzzWorld, count: number): Promise<void> {
  const userId = `step-${count}`;
  const head = `GET /users/${userId}/presence HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${apiKey}\r\n\r\n`;
  const answer = await client.exchange(Buffer.from(head), { isHead: false });
  if (answer?.status !== 200 || (JSON.parse(answer.body) as { userId: string }).userId !== userId) {
    throw new Error(`out of step: ${JSON.stringify(answer)}`);
  }
}
