import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type MortalKind,
  mortalKinds,
  type ProtocolVersion,
  type Publication,
  protocolVersions,
  startMortal,
} from '../support/mortal.ts';
import { announcedWhen, countedWhen, openStage, type Stage } from '../support/stage.ts';

let stage: Stage;

beforeAll(async () => {
  stage = await openStage({ GRACE_MS: '100' });
});

afterAll(() => stage[Symbol.asyncDispose]());

/** What a client says of itself below the root of its birth, and in the same way below that of its will. */
type Form = {
  readonly name: string;
  /** Distinct for each `tag`, which is made of letters. */
  readonly userId: (tag: string) => string;
  /** Behind the root. */
  readonly levels?: (userId: string) => string;
  readonly payload: (userId: string) => string;
  readonly session?: string;
  readonly epoch?: number;
  readonly willQos?: 0;
};

const named = (tag: string) => `user-${tag}`;
const numbered = (tag: string) => `9007199254740993${Buffer.from(tag).readUIntBE(0, tag.length)}`;
const inPayload = { userId: named, levels: () => '' };

const forms: readonly Form[] = [
  { name: 'nothing, below a topic with the user', userId: named, levels: (id) => `/${id}`, payload: () => '' },
  {
    name: 'nothing, below a topic with the user and the session',
    userId: named,
    levels: (id) => `/${id}/tablet`,
    payload: () => '',
    session: 'tablet',
  },
  {
    name: 'nothing, below a percent-encoded topic',
    userId: (tag) => `ann/é +#%${tag}`,
    levels: (id) => `/${encodeURIComponent(id)}/${encodeURIComponent('a/b +#')}`,
    payload: () => '',
    session: 'a/b +#',
  },
  {
    ...inPayload,
    name: 'a JSON object',
    payload: (userId) => JSON.stringify({ userId, sessionId: 'phone', epoch: 7, extra: [1] }),
    session: 'phone',
    epoch: 7,
  },
  {
    ...inPayload,
    name: 'a JSON object with a client id instead of a session',
    payload: (userId) => JSON.stringify({ userId, clientId: 'c-1', reason: 'will' }),
    session: 'c-1',
  },
  {
    name: 'a JSON object with the epoch, below a topic with the identity',
    userId: named,
    levels: (id) => `/${id}/phone`,
    payload: (userId) => JSON.stringify({ userId, epoch: 1_700_000_000_000 }),
    session: 'phone',
    epoch: 1_700_000_000_000,
  },
  { name: 'a JSON object with a number above 2^53', userId: numbered, payload: (id) => `{"userId": ${id}}` },
  { ...inPayload, name: 'a JSON text', payload: (id) => JSON.stringify(id) },
  { name: 'the literal {42}', userId: numbered, payload: (id) => `{${id}}` },
  { ...inPayload, name: 'a bare id', payload: (id) => id },
  { ...inPayload, name: 'a bare id between white space', payload: (id) => ` \t${id}\r\n` },
  { ...inPayload, name: 'a bare id at QoS 0', payload: (id) => id, willQos: 0 },
];

const letters = 'abcdefghijklmnopqrstuvwxyz';

describe.each(mortalKinds)('%s', (kind) => {
  test.each(protocolVersions.map((version) => [version === 5 ? '5' : '3.1.1', version] as const))(
    'whatever form its will has, the user is offline after SIGKILL (MQTT %s)',
    (_, version) => killAll(kind, version),
  );
});

async function killAll(kind: MortalKind, version: ProtocolVersion): Promise<void> {
  await using mortals = new AsyncDisposableStack();
  const { port } = stage.mosquitto;
  const cast = forms.map((form, index) => {
    const tag = `${letters[mortalKinds.indexOf(kind)]}${letters[version]}${letters[index]}`;
    const userId = form.userId(tag);
    return { form, userId, tag };
  });
  const starting = cast.map(async ({ form, userId, tag }) => {
    const below = (root: string): Publication => ({
      topic: `${root}${form.levels?.(userId) ?? ''}`,
      payload: form.payload(userId),
    });
    const will = { ...below('/logout'), qos: form.willQos ?? 1 } as const;
    const clientId = `client-${tag}`;
    const mortal = mortals.use(await startMortal(kind, { port, version, clientId, will, birth: below('/login') }));
    await stage.willow.presenceWhen(userId, ({ status }) => status === 'online');
    return mortal;
  });
  const alive = await Promise.all(starting);
  await Promise.all(alive.map((mortal) => mortal.die()));
  const stories = cast.map(
    async ({ form, userId }) => [form.name, await announcedWhen(stage.willow, userId, 4)] as const,
  );
  const expected = forms.map(({ name, session = 'default', epoch = 1 }) => [
    name,
    [
      `session.started ${session} ${epoch}`,
      `user.online ${session} ${epoch}`,
      `session.ended ${session} ${epoch} will`,
      `user.offline ${session} ${epoch} will`,
    ],
  ]);
  expect(await Promise.all(stories)).toEqual(expected);
}

test('every one of those messages was understood, and nothing was announced twice', async () => {
  const users = forms.length * mortalKinds.length * protocolVersions.length;
  const { willow } = stage;
  expect(await countedWhen(willow, 'willow_messages_total', {}, 2 * users)).toBe(2 * users);
  expect(await willow.metric('willow_signals_total', { outcome: 'applied' })).toBe(2 * users);
  expect(await willow.metric('willow_events_total')).toBe(4 * users);
});
