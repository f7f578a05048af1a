// What the calls about the presence of many answer, and what the documents say of them.

import { z } from 'zod';
import { named, type Operation } from '../openapi/operation.ts';
import { ada, Presence } from './presence.ts';
import { LiveSession } from './sessions.ts';

const ListedPresence = z
  .object({
    ...Presence.shape,
    sessions: z.array(LiveSession).optional().describe('Those that are live, where they were asked for.'),
  })
  .register(named, { id: 'ListedPresence' });

export const QueriedPresence = z
  .object({ data: z.array(ListedPresence).describe('One for each id, in the order asked.') })
  .register(named, { id: 'QueriedPresence' });

const position = z.int().min(0);

export const PresencePage = z
  .object({
    data: z.array(ListedPresence).describe('The users of this page, in the order of their ids; a page may be short.'),
    nextCursor: z.string().nullable().describe('Handed back as `cursor` for the next page; null at the end.'),
    position: position.describe('Of the log when the first page was read: the same on all pages.'),
    head: position.describe('Of the log when this page was read: a copy is true once what is up to here was applied.'),
  })
  .register(named, { id: 'PresencePage' });

export const PresenceCounts = z
  .object({
    online: z.int().min(0).describe('Users that are online.'),
    lost: z.int().min(0).describe('Sessions whose grace runs.'),
    sessions: z.int().min(0).describe('Sessions that are live.'),
    users: z.int().min(0).describe('Users that are known.'),
    asOf: z.iso.datetime().nullable().describe('When the broker was last heard: the answer is true of that time.'),
    stale: z.boolean().describe('Wills may have been missed.'),
    position: position.describe('Of the log when they were counted.'),
  })
  .register(named, { id: 'PresenceCounts' });

const { sessions: _sessions, ...listed } = ada;

export const queryPresences: Operation = {
  id: 'queryPresence',
  tag: 'presence',
  summary: 'Are these users online',
  description:
    'Up to 1,000 users at once, all as of one moment; repeated ids and users who were never heard of are answered like all. With the ' +
    'sessions it is refused where they are more than 10,000, repeated ones included.',
  body: { name: 'PresenceQuery', description: 'The users.', example: { userIds: ['42', 'nobody', '42'] } },
  answers: {
    200: {
      description: 'The users, in the order asked.',
      schema: QueriedPresence,
      example: { data: [listed] } satisfies z.input<typeof QueriedPresence>,
    },
  },
  problems: ['too-many-sessions'],
};

export const listPresences: Operation = {
  id: 'listPresence',
  tag: 'presence',
  summary: 'All users, page by page',
  description:
    'With the `position` of the log that the first page is valid for: whoever reads all pages, and then applies the events after it, has a ' +
    'true copy.',
  answers: {
    200: {
      description: 'A page of users.',
      schema: PresencePage,
      example: { data: [listed], nextCursor: null, position: 118, head: 120 } satisfies z.input<typeof PresencePage>,
    },
  },
};

export const countPresences: Operation = {
  id: 'countPresence',
  tag: 'presence',
  summary: 'How many are online',
  description: 'Counted once for all who ask at the same time.',
  answers: {
    200: {
      description: 'The counts.',
      schema: PresenceCounts,
      example: {
        online: 1,
        lost: 0,
        sessions: 1,
        users: 2,
        asOf: '2026-11-23T08:30:00.000Z',
        stale: false,
        position: 118,
      } satisfies z.input<typeof PresenceCounts>,
    },
  },
};
