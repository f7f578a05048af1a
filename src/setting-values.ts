// What the text of a setting may be, and the value that it becomes: one schema for each kind of setting, each with the sentence that is told
// where the text is another. It knows no setting by name; settings.ts does.

import { z } from 'zod';
import { leaseMsMax } from './core/ticket.ts';
import { howToMakeAKey, keysOf, secretKeysMax } from './runtime/secret-key.ts';
import { parseNetworks } from './webhooks/target-guard.ts';

/** Decimal digits and nothing else: white space is not 0, and 1e3 is a typing error. */
function wholeNumber(max: number, min = 0) {
  const sentence = `must be a whole number from ${min} to ${max}`;
  const digits = z.string().regex(/^\d{1,15}$/u, sentence);
  return digits.transform(Number).refine((value) => value >= min && value <= max, sentence);
}

export const port = wholeNumber(65_535);
export const milliseconds = wholeNumber(86_400_000);
export const leaseMilliseconds = wholeNumber(leaseMsMax);
export const rows = wholeNumber(1_000_000);
/** As many as ten years. */
export const days = wholeNumber(3_650, 1);
export const root = z
  .string()
  .regex(/^[^#+\0]*[^#+\0/]$/u, 'must be a topic without + and #, and not end in /')
  .max(1_024);
export const name = z.string().min(1).max(256);
export const secret = z.string().min(1).max(4_096);
export const path = z.string().min(1).max(4_096);

export const yesOrNo = z.enum(['true', 'false'], 'must be true or false').transform((text) => text === 'true');

const keysSentence = `must be 32 bytes as base64url (up to ${secretKeysMax} of them, commas in between); ${howToMakeAKey}`;
export const keys = z
  .string()
  .refine((text) => keysOf(text) !== null, keysSentence)
  .transform(keysOf);

export const networks = z.string().transform((text, context) => {
  const parsed = parseNetworks(text);
  if (parsed.kind === 'problem') context.addIssue(parsed.problem);
  return text.split(',').map((network) => network.trim());
});

const allRoles = ['ingest', 'api', 'webhooks'] as const;
export const roles = z
  .string()
  .transform((list) => [...new Set(list.split(',').map((role) => role.trim()))])
  .pipe(z.array(z.enum(allRoles, `must be some of ${allRoles.join(',')}`)).min(1));

export function url(protocols: readonly string[]) {
  const isOk = (text: string) => URL.canParse(text) && protocols.some((protocol) => text.startsWith(protocol));
  return z.string().refine(isOk, `must be a URL that begins with ${protocols.join(' or ')}`);
}
