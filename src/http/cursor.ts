// Where a page of a list ended, as an opaque text for the caller. A cursor is bound to the kind of list that gave it; it is
// no secret and no promise: what comes back is checked like any other input.

import { z } from 'zod';

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

export type Page<Item> = { readonly data: readonly Item[]; readonly nextCursor: string | null };

/** A page of `limit` out of rows that were asked for with `limit + 1`: the one too many tells that there is a next page. */
export function pageOf<Row, Item>(
  rows: readonly Row[],
  limit: number,
  shape: { readonly itemOf: (row: Row) => Item; readonly cursorOf: (row: Row) => string },
): Page<Item> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const nextCursor = last !== undefined && rows.length > limit ? shape.cursorOf(last) : null;
  return { data: shown.map(shape.itemOf), nextCursor };
}
