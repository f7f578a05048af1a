// Where a page of a list ended, as an opaque text for the caller. It goes on with nothing but the list, the question and the
// database that gave it: a keyed digest binds it to all three, and whatever else comes back is refused. It is no secret.

import { createHmac, timingSafeEqual } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { type Problem, sendProblem } from './problems.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Of this database, and of no other: what cursors are signed with. */
    cursorKey: string;
  }
}

/** More than the longest of ours, an id of 256 characters that JSON escapes, takes. */
const cursorCharactersMax = 4_096;
/** 128 bits: whoever makes one up hits it never. */
const digestBytes = 16;

export type Cursor<Place> = {
  /** For the answer to this request; it is good for the same one, whatever its `limit`. */
  readonly encode: (request: FastifyRequest, place: Place) => string;
  /** Null: not one that was given to such a request. */
  readonly decode: (request: FastifyRequest, text: string) => Place | null;
};

export function defineCursor<Schema extends z.ZodType>(kind: string, schema: Schema): Cursor<z.output<Schema>> {
  return {
    encode: (request, place) => {
      const content = Buffer.from(JSON.stringify(place));
      return Buffer.concat([digestOf(kind, request, content), content]).toString('base64url');
    },
    decode: (request, text) => {
      if (text.length > cursorCharactersMax) return null;
      const bytes = Buffer.from(text, 'base64url');
      // Several texts mean the same bytes, and one of them is ours.
      if (bytes.length < digestBytes || bytes.toString('base64url') !== text) return null;
      const content = bytes.subarray(digestBytes);
      if (!timingSafeEqual(bytes.subarray(0, digestBytes), digestOf(kind, request, content))) return null;
      // Ours, but perhaps of another version.
      const place = schema.safeParse(JSON.parse(content.toString()));
      return place.success ? place.data : null;
    },
  };
}

function digestOf(kind: string, request: FastifyRequest, content: Buffer): Buffer {
  const asked = JSON.stringify([kind, entriesOf(request.params), entriesOf(request.query)]);
  const digest = createHmac('sha256', request.server.cursorKey).update(`${asked.length}:${asked}`).update(content);
  return digest.digest().subarray(0, digestBytes);
}

/** Of what was asked, as it was understood, but for the page. */
function entriesOf(parameters: unknown): readonly (readonly [string, unknown])[] {
  return (
    Object.entries(parameters ?? {})
      .filter(([name, value]) => name !== 'limit' && name !== 'cursor' && value !== undefined)
      // JSON has no sets: all of them would be one.
      .map(([name, value]): [string, unknown] => [
        name,
        value instanceof Set ? Array.from(value, String).toSorted() : value,
      ])
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
  );
}

export const badCursor: Problem = {
  type: 'bad-cursor',
  detail: 'it was not given by this list, or not to this question: hand it back as it came, with the same parameters',
};

export type List<Place, First, Row, Item> = {
  readonly cursor: Cursor<Place>;
  /** Where the first page begins. */
  readonly first: First;
  /** Null: there is no such list. A problem: it does not go on from there. */
  readonly read: (from: Place | First, rowsMax: number) => Promise<readonly Row[] | Problem | null>;
  readonly unknown?: Problem;
  readonly placeOf: (row: Row) => Place;
  readonly itemOf: (row: Row) => Item;
};

/** Answers with the page that is asked for. One row more than it shows tells whether there is a next one. */
export async function sendPage<Place, First, Row, Item>(
  reply: FastifyReply,
  { limit, cursor: text }: { readonly limit: number; readonly cursor?: string | undefined },
  list: List<Place, First, Row, Item>,
): Promise<FastifyReply> {
  const { request } = reply;
  const from = text === undefined ? list.first : list.cursor.decode(request, text);
  if (text !== undefined && from === null) return sendProblem(reply, badCursor);
  const rows = await list.read(from as Place | First, limit + 1);
  if (rows === null) return sendProblem(reply, list.unknown ?? { type: 'not-found' });
  if ('type' in rows) return sendProblem(reply, rows);
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const nextCursor = last !== undefined && rows.length > limit ? list.cursor.encode(request, list.placeOf(last)) : null;
  return reply.send({ data: shown.map(list.itemOf), nextCursor });
}
