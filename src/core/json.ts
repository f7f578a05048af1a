// JSON as devices send it: looked up by JSON Pointer, and with numbers as they were written.

import { z } from 'zod';

export type JsonObject = { readonly [key: string]: unknown };

/** RFC 6901, parsed once: the reference tokens, unescaped. `[]` is the whole document. */
export const JsonPointer = z
  .string()
  .regex(/^(?:\/(?:[^~/]|~[01])*)+$/u, 'must be a JSON Pointer such as /userId or /user/id')
  .transform((pointer): readonly string[] =>
    pointer
      .slice(1)
      .split('/')
      .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~')),
  );

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value that the tokens lead to, through own properties only (`__proto__` is a name like any other); undefined when there is none. */
export function lookUp(document: unknown, tokens: readonly string[]): unknown {
  let value = document;
  for (const token of tokens) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, token)) return undefined;
    value = (value as JsonObject)[token];
  }
  return value;
}

/** The document, or undefined when the text is not JSON. */
export function parseJson(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}

/** The document with every number as the text it was written in, so that an id beyond 2^53 keeps all of its digits. */
export function parseJsonNumbersAsText(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown, context?: { readonly source?: string }) =>
    typeof value === 'number' ? (context?.source ?? String(value)) : value,
  );
}
