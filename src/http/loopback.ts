// What is served where no key is needed: this machine, and nothing that only seems to be. A web page that was loaded elsewhere can reach
// 127.0.0.1 in two ways: by a name of its own that resolves to it (the Host then is that name), and by a request that a browser sends
// without asking first (the Origin then is that page's).

import type { IncomingHttpHeaders } from 'node:http';
import type { Problem } from './problems.ts';

const octet = '(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)';
const loopbackHost = new RegExp(`^(?:localhost|127(?:\\.${octet}){3}|\\[::1\\])(?::\\d{1,5})?$`, 'iu');

export function isLoopbackHost(host: string | undefined): boolean {
  return host !== undefined && loopbackHost.test(host);
}

/** `null`, which pages of files and of sandboxes send, is no such origin. */
export function isLoopbackOrigin(origin: string): boolean {
  return isLoopbackHost(/^https?:\/\/(.*)$/u.exec(origin)?.[1]);
}

/** Why a request without a key is not served; undefined when it is. */
export function keylessRefusal(
  { host, origin }: IncomingHttpHeaders,
  allowedOrigins: ReadonlySet<string>,
): Problem | undefined {
  if (!isLoopbackHost(host)) {
    return { type: 'host-not-allowed', detail: 'set API_KEY to serve other hosts than localhost, 127.0.0.1 and [::1]' };
  }
  if (origin === undefined || isLoopbackOrigin(origin) || allowedOrigins.has(origin)) return undefined;
  return { type: 'origin-not-allowed', detail: 'set API_KEY to serve pages that were loaded from elsewhere' };
}
