// What the routes take: ids in the path, the page of a list in the query. The schemas validate, and give the handlers their types.

import { z } from 'zod';
import { Id, idCharactersMax, SessionId, UserId } from '../core/ids.ts';
import { type EventType, eventTypes } from '../core/session.ts';

/** UTF-8 takes up to four bytes a character, and percent-encoding three characters a byte. */
export const parameterCharactersMax = idCharactersMax * 4 * 3;

/** Of an id in a path; the lengths are for the documents, which count characters as the schemas do. */
const id = (description: string) => ({ description, minLength: 1, maxLength: idCharactersMax });
const user = UserId.meta({ ...id('The user, percent-encoded.'), examples: ['42'] });
const session = SessionId.meta({ ...id('The session, percent-encoded.'), examples: ['phone'] });

export const UserPath = z.object({ id: user });
/** A question that is not understood is not answered with something else. */
export const NoQuery = z.strictObject({});

export const SessionPath = z.object({ id: user, sessionId: session });

/** Any id is asked for: one that no webhook, or no key, has is unknown, whatever it looks like. */
export const WebhookPath = z.object({ id: Id.meta({ ...id('The webhook.'), examples: ['whe_1'] }) });
export const KeyPath = z.object({ id: Id.meta({ ...id('The key, by its id.'), examples: ['1f0c8e5a9b3d7246'] }) });
/** Of so many digits: each is a number that nothing rounds. */
const wholeDigits = /^\d{1,15}$/u;
/** As answers have them, so that what came in an answer can be handed back as it is. */
const whole = (description: string) => ({ description, type: 'integer', minimum: 0, maximum: 10 ** 15 - 1 });

/** Of what is numbered. */
const Numbered = z.string().regex(wholeDigits, 'must be a whole number').transform(Number);
export const ParkedPath = WebhookPath.extend({ parkedId: Numbered.meta(whole('The parked event.')) });
export const MessagePath = z.object({ id: Numbered.meta(whole('The message.')) });
/** Of a call that takes nothing. */
export const NoBody = z.strictObject({}, 'must be empty, or {}').nullish();

/** A time, as ms since the epoch. */
export const TimeMs = z.iso
  .datetime({ offset: true, error: 'must be one time in ISO 8601, such as 2026-11-23T08:00:00Z' })
  .transform((text) => Date.parse(text));

/** The last ms that both a Date and PostgreSQL can tell. */
export const timeMsMax = 8.64e15;

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
  .meta({
    description: `How many items at most; ${limitDefault} unless said.`,
    type: 'integer',
    minimum: 1,
    maximum: limitMax,
    default: limitDefault,
  });

export const PageQuery = z.strictObject({
  limit: Limit,
  cursor: z.string('must be given once').optional().describe('`nextCursor` of the page before, as it came.'),
});

/** Of the log. */
const Position = z.string('must be given once').regex(wholeDigits, 'must be a position of the log').transform(Number);

const typesSentence = `must be of ${eventTypes.join(', ')}, with commas in between or given again`;

const isEventType = (text: string): boolean => (eventTypes as readonly string[]).includes(text);

/** What is wrong with one is wrong with the parameter: it has no parts that could be named. */
const EventTypes = z
  .union([z.string(), z.array(z.string())], typesSentence)
  .transform((given): readonly string[] => [given].flat().flatMap((list) => list.split(',')))
  .pipe(z.custom<readonly EventType[]>((types) => (types as readonly string[]).every(isEventType), typesSentence))
  .transform((types): ReadonlySet<EventType> => new Set(types))
  .transform((types) => (types.size === eventTypes.length ? null : types));

const logFields = {
  after: Position.optional().meta(whole('The position behind which to begin.')),
  type: EventTypes.optional().meta({
    description: 'Only events of these types, given again or with commas in between.',
    type: 'array',
    items: { type: 'string', enum: eventTypes },
    anyOf: undefined,
  }),
  user: UserId.optional().meta(id('Only the events of this user.')),
};

export const LogQuery = PageQuery.extend(logFields);
export const LogStreamQuery = z.strictObject(logFields);

/** What an EventSource sends when it comes back; an empty one is none. */
export const LastEventIdHeader = z.looseObject({
  'last-event-id': z
    .string()
    .regex(/^\d{0,15}$/u, 'must be a position of the log: the id of the last event')
    .transform((text) => (text === '' ? undefined : Number(text)))
    .optional()
    .describe('The `id` of the last block that came: it goes on behind it, whatever `after` says.'),
});
