// The names of things, branded so that one cannot stand in for another. What parses here can be stored: PostgreSQL refuses
// U+0000, JSON in PostgreSQL refuses lone surrogates, and control characters have no business in a name.

import { z } from 'zod';

export const idCharactersMax = 256;
/** 2^53 − 1: above it JSON numbers of different value read the same. */
export const epochMax = Number.MAX_SAFE_INTEGER;

/** Well-formed Unicode without control characters. */
export function isStorableText(text: string): boolean {
  return text.isWellFormed() && !/\p{Cc}/u.test(text);
}

/** Characters are code points: an emoji counts as one. */
function isWithinIdLength(text: string): boolean {
  if (text.length <= idCharactersMax) return true;
  return text.length <= 2 * idCharactersMax && Array.from(text).length <= idCharactersMax;
}

/** Any text that may stand for something. */
export const Id = z
  .string('must be text')
  .min(1, 'is empty')
  .refine(isWithinIdLength, `is longer than ${idCharactersMax} characters`)
  .refine(isStorableText, 'has a control character or a lone surrogate');

export const UserId = Id.brand<'UserId'>();
export type UserId = z.infer<typeof UserId>;

export const SessionId = Id.brand<'SessionId'>();
export type SessionId = z.infer<typeof SessionId>;

export const ClientId = Id.brand<'ClientId'>();
export type ClientId = z.infer<typeof ClientId>;

/** An integer that grows with every connection of a session: connect time in ms, or a counter. */
export const Epoch = z.int().min(0).max(epochMax).brand<'Epoch'>();
export type Epoch = z.infer<typeof Epoch>;

/** The session of a client that names none. */
export const defaultSessionId: SessionId = SessionId.parse('default');
