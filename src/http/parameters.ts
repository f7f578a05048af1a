// What the routes take: ids in the path, the page of a list in the query. The schemas validate, and give the handlers their types.

import { z } from 'zod';
import { SessionId, UserId } from '../core/ids.ts';

export const UserPath = z.object({ id: UserId });
/** A question that is not understood is not answered with something else. */
export const NoQuery = z.strictObject({});

export const SessionPath = z.object({ id: UserId, sessionId: SessionId });

export const limitMax = 1_000;
const limitDefault = 100;
const limitSentence = `must be a whole number from 1 to ${limitMax}`;

/** Decimal digits and nothing else: a query such as `limit=` or `limit=1e2` is a mistake, not a number. */
const Limit = z
  .string(limitSentence)
  .regex(/^[1-9]\d{0,3}$/u, limitSentence)
  .transform(Number)
  .refine((limit) => limit <= limitMax, limitSentence)
  .default(limitDefault)
  .meta({ type: 'integer', minimum: 1, maximum: limitMax, default: limitDefault });

export const PageQuery = z.strictObject({ limit: Limit, cursor: z.string('must be given once').optional() });
