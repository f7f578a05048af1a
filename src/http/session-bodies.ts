// What the call that prepares a login takes: its body, which may be left out, and its Idempotency-Key.

import { z } from 'zod';
import { SessionId } from '../core/ids.ts';
import { type Device, whyNoDevice } from '../core/signal.ts';
import { leaseMsMax } from '../core/ticket.ts';

const leaseSentence = `must be a whole number of ms from 0 to ${leaseMsMax}; 0 is for ever`;

const DeviceField = z.unknown().transform((value, context) => {
  const problem = value === undefined ? 'a device is a JSON object' : whyNoDevice(value);
  if (problem === null) return value as Device | null;
  context.addIssue(`is none: ${problem}`);
  return z.NEVER;
});

const fields = {
  sessionId: SessionId.nullable().default(null).describe('Which session; otherwise a new one, at random.'),
  device: DeviceField.optional().meta({
    description: 'For the birth: an object of up to 1 KiB, shown to readers.',
    type: ['object', 'null'],
    additionalProperties: {},
  }),
  leaseMs: z
    .number(leaseSentence)
    .refine((ms) => Number.isInteger(ms) && ms >= 0 && ms <= leaseMsMax, leaseSentence)
    .nullable()
    .default(null)
    .meta({
      description: 'How long it stays live without a sign of life, in place of the setting; 0: for ever.',
      anyOf: [{ type: 'integer', minimum: 0, maximum: leaseMsMax }, { type: 'null' }],
    }),
  live: z
    .boolean('must be true or false')
    .default(false)
    .describe('`true`: it is live before the answer is sent, and need not wait for its birth.'),
};

export const NewSession = z
  .strictObject(fields, 'must be a JSON object, or empty')
  .nullish()
  .transform((body) => ({
    sessionId: body?.sessionId ?? null,
    device: body?.device ?? null,
    leaseMs: body?.leaseMs ?? null,
    isLive: body?.live ?? false,
  }));
export type NewSession = z.infer<typeof NewSession>;

const keyCharactersMax = 255;

/** Taken as it comes: `"k"` and `k` are two keys. Sent twice, it is one with a comma and a blank in it, and refused. */
export const IdempotencyHeader = z.looseObject({
  'idempotency-key': z
    .string()
    .regex(
      new RegExp(`^[\\x21-\\x7e]{1,${keyCharactersMax}}$`, 'u'),
      `must be 1 to ${keyCharactersMax} visible ASCII characters`,
    )
    .optional()
    .describe('Another one for each login: for 24 hours the same key with the same request gives the same answer.'),
});
