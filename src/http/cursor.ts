// Where a page of a list ended, as an opaque text for the caller. A cursor is bound to the kind of list that gave it; it is
// no secret and no promise: what comes back is checked like any other input.

import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { type Problem, sendProblem } from './problems.ts';

/** More than the longest of ours, an id of 256 characters that JSON escapes, takes. */
const cursorCharactersMax = 4_096;

export type Cursor<Position> = {
  readonly encode: (position: Position) => string;
  /** Null: not a cursor of this kind of list. */
  readonly decode: (text: string) => Position | null;
};

export function defineCursor<Schema extends z.ZodType>(kind: string, schema: Schema): Cursor<z.output<Schema>> {
  const Content = z.tuple([z.literal(kind), z.unknown()]);
  return {
    encode: (position) => Buffer.from(JSON.stringify([kind, position])).toString('base64url'),
    decode: (text) => {
      if (text.length > cursorCharactersMax) return null;
      const content = Content.safeParse(parseJson(Buffer.from(text, 'base64url').toString()));
      const position = schema.safeParse(content.data?.[1]);
      return position.success ? position.data : null;
    },
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export type List<Place, First, Row, Item> = {
  readonly cursor: Cursor<Place>;
  /** Where the first page begins. */
  readonly first: First;
  /** Null: there is no such list. */
  readonly read: (from: Place | First, rowsMax: number) => Promise<readonly Row[] | null>;
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
  const from = text === undefined ? list.first : list.cursor.decode(text);
  if (text !== undefined && from === null) return sendProblem(reply, { type: 'bad-cursor' });
  const rows = await list.read(from as Place | First, limit + 1);
  if (rows === null) return sendProblem(reply, list.unknown ?? { type: 'not-found' });
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const nextCursor = last !== undefined && rows.length > limit ? list.cursor.encode(list.placeOf(last)) : null;
  return reply.send({ data: shown.map(list.itemOf), nextCursor });
}
