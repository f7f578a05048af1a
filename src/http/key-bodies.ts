// What a new API key is made of. Each field that is wrong is named in the answer, with a sentence.

import { z } from 'zod';
import { isStorableText } from '../core/ids.ts';
import { scopes } from './instance.ts';
import { TimeMs } from './parameters.ts';

const nameCharactersMax = 256;
const nameSentence = `must be text of 1 to ${nameCharactersMax} characters`;
const Name = z
  .string(nameSentence)
  .min(1, nameSentence)
  .max(nameCharactersMax, nameSentence)
  .refine(isStorableText, 'has a control character or a lone surrogate');

const scopesSentence = `must be a list of some of ${scopes.join(', ')}`;
const Scopes = z
  .array(z.enum(scopes, `must be one of ${scopes.join(', ')}`), scopesSentence)
  .refine((list) => list.length >= 1 && list.length <= scopes.length, scopesSentence)
  .transform((list) => [...new Set(list)]);

const ExpiresAt = TimeMs.refine((timeMs) => timeMs > Date.now(), 'must be in the future');

export const NewKey = z.strictObject(
  {
    name: Name.describe('Whose key it is, for whoever reads the list.'),
    scopes: Scopes.describe('What it may do.'),
    expiresAt: ExpiresAt.nullable()
      .default(null)
      .describe('A time in the future; null: it is good until it is removed.'),
  },
  'must be a JSON object',
);
