// What the calls about webhooks take as their body. Each field that is wrong is named in the answer, with a sentence.

import { z } from 'zod';
import { isStorableText } from '../core/ids.ts';
import { eventTypes } from '../core/session.ts';
import { TimeMs } from './parameters.ts';

const urlCharactersMax = 2_048;
const descriptionCharactersMax = 256;
const lanesMax = 64;
const lanesDefault = 8;
const batchEventsMax = 1_000;

/** Why a URL cannot be a webhook's, as a sentence; null when it can. */
export type UrlProblem = (url: string) => string | null;

function wholeNumber(min: number, max: number) {
  const sentence = `must be a whole number from ${min} to ${max}`;
  return z
    .number(sentence)
    .refine((value) => Number.isInteger(value) && value >= min && value <= max, sentence)
    .meta({ type: 'integer', minimum: min, maximum: max });
}

/** As it is called in the end: numbers in other bases and full-width digits are not what they seem. */
function urlOf(targetProblem: UrlProblem) {
  return z.string('must be a URL such as https://example.com/hook').transform((text, context) => {
    const href = URL.parse(text)?.href ?? '';
    const isTooLong = text.length > urlCharactersMax || href.length > urlCharactersMax;
    const problem = isTooLong ? `it has more than ${urlCharactersMax} characters` : targetProblem(text);
    if (problem === null) return href;
    context.addIssue(`cannot be called: ${problem}`);
    return z.NEVER;
  });
}

/** What the documents say of each field. */
const says = {
  url: 'Where it is called: https, without user name and fragment, at an address that may be called.',
  description: 'Whose it is, for whoever reads the list.',
  events: 'The types that it wants; null: all of them.',
  lanes: "How many deliveries may be under way at once; a user's events always take the same lane, in order.",
  maxBatch: 'More than 1 sends up to so many events of a lane in one request.',
  after: 'The position behind which it begins; null: the end of the log.',
  enabled: '`false`: it is paused, keeps its place, and is sent nothing.',
  replayAfter: 'The position behind which to begin.',
  since: 'The time from which on to begin.',
} as const;

const urlMeta = { description: says.url, maxLength: urlCharactersMax, format: 'uri' };

const Description = z
  .string('must be text')
  .max(descriptionCharactersMax, `must have at most ${descriptionCharactersMax} characters`)
  .refine(isStorableText, 'has a control character or a lone surrogate')
  .nullable();

const typesSentence = `must be a list of some of ${eventTypes.join(', ')}; leave it out for all of them`;
const Types = z
  .array(z.enum(eventTypes, `must be one of ${eventTypes.join(', ')}`), typesSentence)
  .refine((types) => types.length >= 1 && types.length <= eventTypes.length, typesSentence)
  .transform((types) => [...new Set(types)])
  .nullable();

const Lanes = wholeNumber(1, lanesMax);
const MaxBatch = wholeNumber(1, batchEventsMax);
const Enabled = z.boolean('must be true or false');
const Position = wholeNumber(0, Number.MAX_SAFE_INTEGER);

const isObject = 'must be a JSON object';

export function newWebhook(targetProblem: UrlProblem) {
  return z.strictObject(
    {
      url: urlOf(targetProblem).meta(urlMeta),
      description: Description.default(null).describe(says.description),
      events: Types.default(null).describe(says.events),
      lanes: Lanes.default(lanesDefault).describe(says.lanes),
      maxBatch: MaxBatch.default(1).describe(says.maxBatch),
      after: Position.nullable().default(null).describe(says.after),
      enabled: Enabled.default(true).describe(says.enabled),
    },
    isObject,
  );
}

export function changedWebhook(targetProblem: UrlProblem) {
  return z.strictObject(
    {
      url: urlOf(targetProblem).optional().meta(urlMeta),
      description: Description.optional().describe(says.description),
      events: Types.optional().describe(says.events),
      lanes: Lanes.optional().describe(says.lanes),
      maxBatch: MaxBatch.optional().describe(says.maxBatch),
      enabled: Enabled.optional().describe(says.enabled),
    },
    isObject,
  );
}

export const ReplayFrom = z
  .strictObject(
    { after: Position.optional().describe(says.replayAfter), since: TimeMs.optional().describe(says.since) },
    isObject,
  )
  .transform(({ after, since }, context) => {
    if (after !== undefined && since === undefined) return { after };
    if (since !== undefined && after === undefined) return { sinceMs: since };
    context.addIssue('must have either after (a position) or since (a time)');
    return z.NEVER;
  });

export type NewWebhook = z.infer<ReturnType<typeof newWebhook>>;
export type ChangedWebhook = z.infer<ReturnType<typeof changedWebhook>>;
export type ReplayFrom = z.infer<typeof ReplayFrom>;
