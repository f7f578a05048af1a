// What a backend in TypeScript does with Willow through a client that was generated from its document. It is checked by tsc against the
// generated types, so it says what they must tell apart, and what they must refuse; and it is run against the service.

import createClient from 'openapi-fetch';
import type { components, paths } from './generated/willow.d.ts';

type Event = components['schemas']['Event'];
type Willow = ReturnType<typeof createClient<paths>>;
type Problem = { readonly type: string };

/** In the order in which it was found out; each name is that of a test's expectation. */
export type Tour = {
  readonly before: 'online' | 'offline';
  readonly after: 'online' | 'offline';
  readonly sessions: readonly string[];
  readonly ends: readonly string[];
  readonly wrongLanes: readonly string[];
  readonly unknownSession: number;
  readonly withoutKey: string;
  readonly followed: readonly string[];
  readonly listed: number;
  readonly refused: string;
};

export async function tour(baseUrl: string, key: string): Promise<Tour> {
  const willow = createClient<paths>({ baseUrl, headers: { authorization: `Bearer ${key}` } });
  const path = { id: 'ada / 1' };

  const before = known(await willow.GET('/users/{id}/presence', { params: { path } }));
  // Never seen: null is among what the types say.
  const since: string | null = before.since;
  if (since !== null) throw new Error('seen before');

  const prepared = known(
    await willow.POST('/users/{id}/sessions', {
      params: { path, header: { 'idempotency-key': 'tour-1' } },
      body: { sessionId: 'phone', live: true },
    }),
  );
  const after = known(await willow.GET('/users/{id}/presence', { params: { path } }));
  // Of the past there are no sessions.
  if (!('sessions' in after)) throw new Error('the present was asked for');
  const statuses: readonly ('online' | 'lost')[] = after.sessions.map(({ status }) => status);
  if (statuses.length !== 1) throw new Error('one session is live');

  await willow.POST('/users/{id}/sessions', { params: { path: { id: 'bob' } }, body: { live: true } });

  const sessionPath = { ...path, sessionId: prepared.sessionId };
  await willow.DELETE('/users/{id}/sessions/{sessionId}', { params: { path: sessionPath } });
  const ended = known(await willow.GET('/users/{id}/sessions', { params: { path, query: { limit: 10 } } }));
  const events = known(await willow.GET('/users/{id}/events', { params: { path } }));

  const wrong = await willow.POST('/webhooks', { body: { url: 'https://example.com/hook', lanes: 65 } });
  const unknown = await willow.DELETE('/users/{id}/sessions/{sessionId}', {
    params: { path: { ...path, sessionId: 'none' } },
  });
  const stranger = createClient<paths>({ baseUrl });
  const refusal = await stranger.GET('/users/{id}/presence', { params: { path } });

  return {
    before: before.status,
    after: after.status,
    sessions: ended.data.map((session) => (session.status === 'ended' ? session.reason : session.status)),
    ends: events.data.flatMap(reasonOf),
    // A problem is told apart by its type, and has the members of that type.
    wrongLanes: wrong.error?.type === 'urn:willow:problem:bad-body' ? wrong.error.errors.map(({ name }) => name) : [],
    unknownSession: unknown.error?.status ?? 0,
    withoutKey: refusal.error?.type ?? '',
    followed: await followed(willow),
    listed: await listed(willow),
    refused: await misused(willow),
  };
}

function known<Data>({ data, error }: { readonly data?: Data; readonly error?: Problem }): Data {
  if (data === undefined) throw new Error(error?.type ?? 'no answer');
  return data;
}

/** The ends have a reason, the others have none: the types say so by the type of the event. */
function reasonOf(event: Event): string[] {
  switch (event.type) {
    case 'session.ended':
    case 'user.offline':
      return [event.reason];
    case 'session.started':
    case 'user.online':
      // @ts-expect-error What begins has no reason.
      return event.reason === undefined ? [] : ['a reason'];
  }
}

/** A position that came in an answer is handed back as it is, and several types as a list. */
async function followed(willow: Willow): Promise<readonly string[]> {
  const first = known(await willow.GET('/events', { params: { query: { limit: 1 } } }));
  const query = { after: first.position, type: ['session.ended', 'user.offline'] satisfies Event['type'][] };
  const next = known(await willow.GET('/events', { params: { query } }));
  return next.data.map(({ type }) => type);
}

/** How many live sessions are told, where they are asked for. */
async function listed(willow: Willow): Promise<number> {
  const { data } = known(await willow.GET('/presence', { params: { query: { sessions: true } } }));
  const body = { userIds: ['bob'] };
  const asked = known(await willow.POST('/presence/query', { params: { query: { sessions: true } }, body }));
  const untold = known(await willow.GET('/presence', { params: { query: { sessions: false } } }));
  if (untold.data.some(({ sessions }) => sessions !== undefined)) throw new Error('sessions that nobody asked for');
  return [...data, ...asked.data].flatMap(({ sessions }) => sessions ?? []).length;
}

/** Each of these is refused by the types, and by the service. */
async function misused(willow: Willow): Promise<string> {
  // @ts-expect-error There is no such call.
  const nowhere = await willow.GET('/nowhere', {});
  const path = { id: 'ada' };
  const answers = [
    // @ts-expect-error There is no such parameter.
    await willow.GET('/users/{id}/sessions', { params: { path, query: { offset: 1 } } }),
    // @ts-expect-error There is no such event.
    await willow.GET('/events', { params: { query: { type: ['user.gone'] } } }),
    // @ts-expect-error A position is a number.
    await willow.GET('/events', { params: { query: { after: 'the end' } } }),
    // @ts-expect-error There is no such event.
    await willow.POST('/webhooks', { body: { url: 'https://example.com/hook', events: ['user.gone'] } }),
    // @ts-expect-error A number is asked for, and a text is none.
    await willow.GET('/quarantine/{id}', { params: { path: { id: 'first' } } }),
    // @ts-expect-error A key has scopes.
    await willow.POST('/keys', { body: { name: 'billing' } }),
  ];
  const status = [nowhere, ...answers].map(({ response }) => (response as Response).status);
  return status.join(' ');
}
