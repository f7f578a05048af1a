// The keys that callers show: made, listed and removed. A key is shown when it is made, and never again.

import { z } from 'zod';
import { createKey, deleteKey, getKey, listKeys } from '../answers/keys.ts';
import { mintKey } from '../api-key.ts';
import { callerOf } from '../auth.ts';
import { defineCursor, sendPage } from '../cursor.ts';
import type { Caller, HttpServer, Scope } from '../instance.ts';
import { NewKey } from '../key-bodies.ts';
import { KeyPath, NoQuery, PageQuery, timeMsMax } from '../parameters.ts';
import { secretHeaders, sendProblem } from '../problems.ts';
import { keyBody } from '../render.ts';

const Place = z.strictObject({ createdAtMs: z.int().min(0).max(timeMsMax), id: z.string().regex(/^\w{1,64}$/u) });
const cursor = defineCursor('keys', Place);

export type ApiKey = {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly createdAtMs: number;
  readonly expiresAtMs: number | null;
  readonly lastUsedAtMs: number | null;
};

export type KeyWish = Pick<ApiKey, 'id' | 'name' | 'expiresAtMs'> & {
  readonly scopes: readonly Scope[];
  readonly digest: Buffer;
};

export type KeysPort = {
  readonly create: (
    wish: KeyWish,
    caller: Caller,
  ) => Promise<
    { readonly kind: 'done'; readonly key: ApiKey } | { readonly kind: 'too-many'; readonly keysMax: number }
  >;
  /** Newest first: by creation, then by id, both descending. */
  readonly list: (page: {
    readonly limit: number;
    readonly after: z.infer<typeof Place> | null;
  }) => Promise<readonly ApiKey[]>;
  readonly get: (id: string) => Promise<ApiKey | null>;
  /** False when there was none. */
  readonly remove: (id: string, caller: Caller) => Promise<boolean>;
};

export function keyRoutes(app: HttpServer, port: KeysPort): void {
  app.post(
    '/keys',
    { config: { scope: 'keys:admin', operation: createKey }, schema: { querystring: NoQuery, body: NewKey } },
    async (request, reply) => {
      const { name, scopes, expiresAt } = request.body;
      const { id, key, digest } = mintKey();
      const made = await port.create({ id, name, scopes, expiresAtMs: expiresAt, digest }, callerOf(request));
      if (made.kind === 'too-many') {
        return sendProblem(reply, { type: 'too-many-keys', detail: `at most ${made.keysMax}` });
      }
      reply.code(201).header('location', `/keys/${id}`).headers(secretHeaders);
      const { id: _id, ...shown } = keyBody(made.key);
      return reply.send({ id, key, ...shown });
    },
  );

  app.get(
    '/keys',
    { config: { scope: 'keys:admin', operation: listKeys }, schema: { querystring: PageQuery } },
    async (request, reply) =>
      sendPage(reply, request.query, {
        cursor,
        first: null,
        read: (after, limit) => port.list({ limit, after }),
        placeOf: ({ createdAtMs, id }) => ({ createdAtMs, id }),
        itemOf: keyBody,
      }),
  );

  app.get(
    '/keys/:id',
    { config: { scope: 'keys:admin', operation: getKey }, schema: { params: KeyPath, querystring: NoQuery } },
    async (request, reply) => {
      const key = await port.get(request.params.id);
      return key === null ? sendProblem(reply, { type: 'unknown-key' }) : keyBody(key);
    },
  );

  app.delete(
    '/keys/:id',
    { config: { scope: 'keys:admin', operation: deleteKey }, schema: { params: KeyPath, querystring: NoQuery } },
    async (request, reply) => {
      const wasThere = await port.remove(request.params.id, callerOf(request));
      return wasThere ? reply.code(204).send() : sendProblem(reply, { type: 'unknown-key' });
    },
  );
}
