// What the streams have in common as the documents say it: their blocks, and the last of them, which says why Willow ends it.

import { z } from 'zod';
import { named } from '../openapi/operation.ts';
import type { Closing } from '../stream.ts';

const position = z.int().min(0);
const closings = {
  slow: z.object({ reason: z.literal('slow').describe('The caller took nothing for 30 seconds: come back.') }),
  gone: z.object({
    reason: z.literal('gone').describe('The log no longer has what comes next.'),
    after: position.describe('The position behind which the log begins.'),
  }),
  ahead: z.object({
    reason: z.literal('ahead').describe('The database is an older one than that which the place of the stream is of.'),
    head: position.describe('The position at which the log ends.'),
  }),
  key: z.object({ reason: z.literal('key').describe('The API key was removed, or has expired.') }),
  shutdown: z.object({ reason: z.literal('shutdown').describe('This process stops: come back, to another one.') }),
} satisfies { readonly [Reason in Closing['reason']]: z.ZodType<Extract<Closing, { readonly reason: Reason }>> };

/** `data` of `event: closing`. */
z.discriminatedUnion('reason', [
  closings.slow,
  closings.gone,
  closings.ahead,
  closings.key,
  closings.shutdown,
]).register(named, { id: 'StreamClosing' });

/** A text as far as OpenAPI 3.1 knows: what stands in its blocks is the component of that name, or the last word. */
export function streamOf(component: string, description: string) {
  const contentSchema = { anyOf: [component, 'StreamClosing'].map((id) => ({ $ref: `#/components/schemas/${id}` })) };
  return z.string().meta({ description, contentMediaType: 'text/event-stream', contentSchema });
}
