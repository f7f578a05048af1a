// Who may call. Every route declares a scope, or that it is open; one that does not fails the start. With the setting API_KEY the others
// want it, or a stored key that has their scope, as a bearer token. Without it no key is needed, and nothing else than this machine is
// served (loopback.ts); a token that is sent all the same is checked. Whether keys are needed never depends on which are stored: one that
// expires must not open the API. No answer and no log holds a key, and what is wrong with one that is not ours is not told.

import { timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { invariant } from '../runtime/invariant.ts';
import { digestOf, keyIdOf } from './api-key.ts';
import type { Guessing } from './guessing.ts';
import type { Caller, HttpServer, Scope } from './instance.ts';
import { type Problem, sendProblem } from './problems.ts';

export type StoredKey = {
  readonly id: string;
  readonly name: string;
  readonly scopes: ReadonlySet<string>;
  /** SHA-256 of the key. */
  readonly digest: Buffer;
  readonly expiresAtMs: number | null;
};

export type GuardPort = {
  /** At once where it is known; otherwise whoever asks waits for the database. */
  readonly findKey: (id: string) => StoredKey | null | Promise<StoredKey | null>;
  /** Somebody has shown this key. */
  readonly noteUse: (id: string) => void;
};

type Judgement = { readonly caller: Caller } | { readonly problem: Problem };

/** Guards the routes that are added after this call. */
export function requireKeys(app: HttpServer, apiKey: string | null, port: GuardPort, guessing: Guessing): void {
  app.decorateRequest('caller', null);
  // As it arrives: headers are read as latin1, one character a byte.
  const adminDigest = apiKey === null ? null : digestOf(Buffer.from(apiKey).toString('latin1'));
  app.addHook('onRoute', (route) => {
    const scope = route.config?.scope;
    if (scope === undefined || scope === 'open') return;
    const guard = guardOf(scope, adminDigest, port, guessing);
    route.onRequest = [guard, ...[route.onRequest ?? []].flat()];
  });
}

/** A route that nobody decided about is not served. */
export function requireScopes(app: HttpServer): void {
  app.addHook('onRoute', ({ method, url, config }) => {
    invariant(config?.scope !== undefined, `the route ${String(method)} ${url} declares a scope`);
  });
}

/** Of a route that declares a scope. */
export function callerOf({ caller }: FastifyRequest): Caller {
  invariant(caller !== null, 'who calls a route with a scope is known');
  return caller;
}

// Callbacks, not promises: nearly always the answer is known at once, and on the most read route a promise more is felt.
function guardOf(scope: Scope, adminDigest: Buffer | null, { findKey, noteUse }: GuardPort, guessing: Guessing) {
  return (request: FastifyRequest, reply: FastifyReply, proceed: (error?: Error) => void): void => {
    const settle = (judgement: Judgement): void => {
      if ('caller' in judgement) {
        request.caller = judgement.caller;
        proceed();
      } else sendProblem(reply, judgement.problem);
    };
    const refuse = (): void => {
      guessing.wasWrong(request);
      settle(keyWrong);
    };
    const token = bearerToken(request.headers.authorization);
    if (token === null) return settle(adminDigest === null ? loopback : keyMissing);
    const digest = digestOf(token);
    const unheard = guessing.refusal(request, digest);
    if (unheard !== null) return settle({ problem: unheard });
    if (adminDigest !== null && timingSafeEqual(digest, adminDigest)) {
      guessing.wasRight(request, digest);
      return settle(admin);
    }
    const id = keyIdOf(token);
    if (id === null) return refuse();
    const judge = (key: StoredKey | null): void => {
      if (key === null || !timingSafeEqual(digest, key.digest)) return refuse();
      guessing.wasRight(request, digest);
      noteUse(id);
      settle(judgementOn(key, scope));
    };
    const found = findKey(id);
    if (found instanceof Promise) found.then(judge).catch(proceed);
    else judge(found);
  };
}

/** Of one whose owner has shown it. */
function judgementOn({ id, name, scopes, expiresAtMs }: StoredKey, scope: Scope): Judgement {
  if (expiresAtMs !== null && Date.now() >= expiresAtMs) return keyExpired;
  return scopes.has(scope) ? { caller: { kind: 'key', id, name } } : missingScope(scope);
}

const loopback: Judgement = { caller: { kind: 'loopback' } };
const admin: Judgement = { caller: { kind: 'api-key-setting' } };

const challenge = 'Bearer realm="willow"';
const keyMissing = unauthorized('send an API key as "Authorization: Bearer <key>"', challenge);
const keyWrong = unauthorized('the API key is not valid', `${challenge}, error="invalid_token"`);
const keyExpired = unauthorized('the API key has expired', `${challenge}, error="invalid_token"`);

function unauthorized(detail: string, authenticate: string): Judgement {
  return { problem: { type: 'unauthorized', detail, headers: { 'www-authenticate': authenticate } } };
}

function missingScope(scope: Scope): Judgement {
  const headers = { 'www-authenticate': `${challenge}, error="insufficient_scope", scope="${scope}"` };
  const detail = `this call needs a key with the scope ${scope}`;
  return { problem: { type: 'missing-scope', detail, extensions: { scope }, headers } };
}

/** Null: none was sent. The scheme alone is a token that is wrong. */
function bearerToken(authorization: string | undefined): string | null {
  const match = /^bearer(?: +(.*))?$/iu.exec(authorization ?? '');
  return match === null ? null : (match[1] ?? '');
}
