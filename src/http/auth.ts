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
import { overloaded, type Problem, sendProblem } from './problems.ts';

export type StoredKey = {
  readonly id: string;
  readonly name: string;
  readonly scopes: ReadonlySet<string>;
  /** SHA-256 of the key. */
  readonly digest: Buffer;
  readonly expiresAtMs: number | null;
};

export type GuardPort = {
  /** Where it is known, without asking anybody. */
  readonly knownKey: (id: string) => StoredKey | null;
  /** At once where it is known; otherwise whoever asks waits for the database. */
  readonly findKey: (id: string) => StoredKey | null | Promise<StoredKey | null>;
  /** Somebody has shown this key. */
  readonly noteUse: (id: string) => void;
};

type Judgement = { readonly caller: Caller } | { readonly problem: Problem };

export type GuardDeps = {
  readonly apiKey: string | null;
  readonly port: GuardPort;
  readonly guessing: Guessing;
  /** Keys that are looked up at once: whoever waits for that is not among those who are being worked on yet. */
  readonly lookUpsMax: number;
  /** One was not looked up. */
  readonly onShed: () => void;
};

/** Guards the routes that are added after this call. */
export function requireKeys(app: HttpServer, deps: GuardDeps): void {
  app.decorateRequest('caller', null);
  const guard = guardFor(deps);
  app.addHook('onRoute', (route) => {
    const scope = route.config?.scope;
    if (scope === undefined || scope === 'open') return;
    route.onRequest = [guard(scope), ...[route.onRequest ?? []].flat()];
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

type Guard = (request: FastifyRequest, reply: FastifyReply, proceed: (error?: Error) => void) => void;

/** Who calls, where that is known at once and he may; null otherwise, with nothing counted, for the guard to judge. */
export type CallerAtOnce = (authorization: string | undefined, scope: Scope) => Caller | null;

/** For a service that needs keys. */
export function callersAtOnce({ apiKey, port }: { readonly apiKey: string; readonly port: GuardPort }): CallerAtOnce {
  const adminDigest = adminDigestOf(apiKey);
  return (authorization, scope) => {
    const token = bearerToken(authorization);
    if (token === null) return null;
    const digest = digestOf(token);
    if (timingSafeEqual(digest, adminDigest)) return admin.caller;
    const id = keyIdOf(token);
    const key = id === null ? null : port.knownKey(id);
    if (key === null || !timingSafeEqual(digest, key.digest)) return null;
    const judgement = judgementOn(key, scope);
    if (!('caller' in judgement)) return null;
    port.noteUse(key.id);
    return judgement.caller;
  };
}

/** As it arrives: headers are read as latin1, one character a byte. */
function adminDigestOf(apiKey: string): Buffer {
  return digestOf(Buffer.from(apiKey).toString('latin1'));
}

// Callbacks, not promises: nearly always the answer is known at once, and on the most read route a promise more is felt.
function guardFor({ apiKey, port: { findKey, noteUse }, guessing, lookUpsMax, onShed }: GuardDeps) {
  const adminDigest = apiKey === null ? null : adminDigestOf(apiKey);
  let lookUps = 0;
  return (scope: Scope): Guard =>
    (request, reply, proceed) => {
      const settle = (judgement: Judgement): void => {
        if ('caller' in judgement) {
          request.caller = judgement.caller;
          proceed();
        } else sendProblem(reply, judgement.problem);
      };
      const token = bearerToken(request.headers.authorization);
      if (token === null) return settle(adminDigest === null ? loopback : keyMissing);
      const digest = digestOf(token);
      if (adminDigest !== null && timingSafeEqual(digest, adminDigest)) return settle(admin);
      const id = keyIdOf(token);
      if (id === null) {
        const stop = guessing.refusal(request);
        return settle(stop === null ? keyWrong : { problem: stop });
      }
      if (lookUps >= lookUpsMax) {
        onShed();
        return settle({ problem: overloaded });
      }
      const judge = (key: StoredKey | null): void => {
        if (key === null || !timingSafeEqual(digest, key.digest)) return settle(keyWrong);
        noteUse(id);
        settle(judgementOn(key, scope));
      };
      const found = findKey(id);
      if (!(found instanceof Promise)) return judge(found);
      lookUps += 1;
      const isOver = (): void => {
        lookUps -= 1;
      };
      found.finally(isOver).then(judge).catch(proceed);
    };
}

/** Of one whose owner has shown it. */
function judgementOn({ id, name, scopes, expiresAtMs }: StoredKey, scope: Scope): Judgement {
  if (expiresAtMs !== null && Date.now() >= expiresAtMs) return keyExpired;
  return scopes.has(scope) ? { caller: { kind: 'key', id, name } } : missingScope(scope);
}

const loopback: Judgement = { caller: { kind: 'loopback' } };
const admin = { caller: { kind: 'api-key-setting' } } as const;

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
