// Who may call. Every route declares a scope, or that it is open; one that does not fails the start. With an API key the
// other routes want it as a bearer token. Without one only requests for a loopback host are served, so that a web page
// cannot reach Willow by a name of its own that resolves to 127.0.0.1 (DNS rebinding).

import { hash, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { invariant } from '../runtime/invariant.ts';
import type { HttpServer } from './instance.ts';
import { type Problem, sendProblem } from './problems.ts';

/** Guards the routes that are added after this call. */
export function requireKey(app: HttpServer, apiKey: string): void {
  // As it arrives: headers are read as latin1, one character a byte.
  const expected = digest(Buffer.from(apiKey).toString('latin1'));
  const guard = (request: FastifyRequest, reply: FastifyReply, done: () => void): void => {
    const token = bearerToken(request.headers.authorization);
    if (token !== undefined && timingSafeEqual(digest(token), expected)) done();
    else sendProblem(reply, token === undefined ? keyMissing : keyWrong);
  };
  app.addHook('onRoute', (route) => {
    if (route.config?.scope === 'open') return;
    route.onRequest = [guard, ...[route.onRequest ?? []].flat()];
  });
}

/** A route that nobody decided about is not served. */
export function requireScopes(app: HttpServer): void {
  app.addHook('onRoute', ({ method, url, config }) => {
    invariant(config?.scope !== undefined, `the route ${String(method)} ${url} declares a scope`);
  });
}

const keyMissing: Problem = {
  type: 'unauthorized',
  detail: 'send the API key as "Authorization: Bearer <key>"',
  headers: { 'www-authenticate': 'Bearer realm="willow"' },
};
const keyWrong: Problem = {
  type: 'unauthorized',
  detail: 'the API key is not valid',
  headers: { 'www-authenticate': 'Bearer realm="willow", error="invalid_token"' },
};

function bearerToken(authorization: string | undefined): string | undefined {
  return /^bearer +([^ ].*)$/iu.exec(authorization ?? '')?.[1];
}

/** Equal lengths for the comparison, which takes the same time wherever the keys differ. */
function digest(token: string): Buffer {
  return Buffer.from(hash('sha256', token, 'hex'));
}

const octet = '(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)';
const loopbackHost = new RegExp(`^(?:localhost|127(?:\\.${octet}){3}|\\[::1\\])(?::\\d{1,5})?$`, 'iu');

export function isLoopbackHost(host: string | undefined): boolean {
  return host !== undefined && loopbackHost.test(host);
}
