// A user is erased: nothing of him is left, and nobody else notices, whoever reads the log and wherever they are in it.

import { expect, test } from 'vitest';
import { batchIdOf } from '../../src/webhooks/message.ts';
import { readPages } from '../support/http.ts';
import { ask } from '../support/prepared.ts';
import { announced, announcedWhen, countedWhen } from '../support/stage.ts';
import { attemptsWhen, call, handOver, headOf, parkedWhen, playWebhooks } from '../support/webhooks.ts';

const play = playWebhooks();

async function erase(userId: string): Promise<void> {
  const answer = await call(play.willow, 'DELETE', `/users/${encodeURIComponent(userId)}`);
  expect(answer).toEqual({ status: 204, body: null });
}

/** The tables that have a row with this text in it. */
async function tablesWith(text: string): Promise<readonly string[]> {
  const { pool } = play.stage.database;
  const { rows: tables } = await pool.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'`,
  );
  expect(tables.length).toBeGreaterThan(10);
  const found: string[] = [];
  for (const { name } of tables) {
    const { rows } = await pool.query(`select from "${name}" t where position($1 in t::text) > 0 limit 1`, [text]);
    if (rows.length > 0) found.push(name);
  }
  return found.toSorted();
}

test('nothing that holds his id is left but the entry that says who erased him, and of the others all is left', async () => {
  const [gone, stays] = ['erased-7f3a', 'stays-7f3a'];
  play.receiver.answer(({ events }) => (events[0]?.type === 'user.online' ? 422 : 204));
  const id = await play.hook({ events: ['user.online'], lanes: 1 });
  for (const [count, userId] of [gone, stays].entries()) {
    await play.login(userId, { device: { owner: userId } });
    await ask(play.willow, userId, { key: `${userId}-key`, body: { live: true } });
    for (let tries = 1; tries <= 3; tries += 1) {
      await attemptsWhen(play.willow, id, count * 3 + tries);
      await handOver(play.stage, id);
    }
  }
  await parkedWhen(play.willow, id, 2);
  const everywhere = ['audit', 'events', 'idempotency', 'parked', 'sessions', 'users'];
  for (const userId of [gone, stays]) expect(await tablesWith(userId)).toEqual(everywhere);
  const before = await headOf(play.stage);

  await erase(gone);
  expect(await tablesWith(gone)).toEqual(['audit']);
  expect(await tablesWith(stays)).toEqual(everywhere);
  expect(await play.willow.presence(gone)).toMatchObject({ status: 'offline', sequence: 0, since: null, sessions: [] });
  expect(await play.willow.events(gone)).toEqual([]);
  expect((await readPages(`${play.willow.http}/users/${gone}/sessions`, 10)).items).toEqual([]);
  expect((await parkedWhen(play.willow, id, 1))[0]?.event.userId).toBe(stays);
  // Nothing is announced of it.
  expect(await headOf(play.stage)).toBe(before);
  const audit = await call(play.willow, 'GET', `/audit?action=user.erased&target=user:${gone}`);
  expect(audit.body['data']).toMatchObject([{ actor: 'loopback', target: `user:${gone}` }]);
});

test('a user who was never heard of is erased as well, and so is one who is erased twice', async () => {
  for (const userId of ['never', 'never', 'a/b', '__proto__', '🦉'.repeat(256)]) await erase(userId);
});

test.each([1, 2])(
  'a later message makes a new user, whose sequence begins at 1, and whose old epochs are forgotten: after %i messages',
  async (messages) => {
    const { voice } = play.stage;
    const userId = `again-${messages}`;
    // The last that is heard of anybody before he is erased.
    await voice.say('/login', { userId, sessionId: 'phone', epoch: 9 });
    await announcedWhen(play.willow, userId, 2);
    if (messages === 2) await voice.say('/logout', { userId, sessionId: 'phone', epoch: 9 });
    await announcedWhen(play.willow, userId, 2 * messages);
    await erase(userId);
    await voice.say('/login', { userId, sessionId: 'phone', epoch: 1 });
    expect(await announcedWhen(play.willow, userId, 2)).toEqual(['session.started phone 1', 'user.online phone 1']);
    expect((await play.willow.presence(userId)).sequence).toBe(2);
  },
);

test('his Idempotency-Key is free again', async () => {
  const first = await ask(play.willow, 'key', { key: 'k' });
  await erase('key');
  const second = await ask(play.willow, 'key', { key: 'k' });
  expect([first.status, second.status]).toEqual([201, 201]);
  expect(second.body.sessionId).not.toBe(first.body.sessionId);
});

test('a user with more events than are removed at once is erased whole', async () => {
  const { pool } = play.stage.database;
  const count = 12_345;
  await play.login('busy');
  await announcedWhen(play.willow, 'busy', 2);
  await pool.query(
    `with head as (update log_head set position = position + $1 returning position - $1 as base)
     insert into events (position, user_id, sequence, type, session_id, at)
     select base + n, 'busy', n + 2, 'session.started', 'phone', now() from head, generate_series(1, $1::int) n`,
    [count],
  );
  await pool.query(`update users set sequence = $1, revision = revision + 1 where user_id = 'busy'`, [count + 2]);
  await erase('busy');
  expect(await tablesWith('busy')).toEqual(['audit']);
});

/** Users come online; what the log has of them. */
async function pileUp(...userIds: readonly string[]): Promise<number> {
  const before = await headOf(play.stage);
  for (const userId of userIds) {
    await play.login(userId);
    await announcedWhen(play.willow, userId, 2);
  }
  return before;
}

test('a lane that waits with one event of his goes on with the next, and does not send it any more', async () => {
  let isAway = true;
  play.receiver.answer(() => (isAway ? 503 : 204));
  const after = await pileUp('single-1', 'single-2');
  const id = await play.hook({ after, lanes: 1, events: ['user.online'] });
  await attemptsWhen(play.willow, id, 1);
  await erase('single-1');
  isAway = false;
  // The same process has it in hand, and looks at the log again.
  await call(play.willow, 'PATCH', `/webhooks/${id}`, { description: 'try now' });
  expect((await play.receiver.takenWhen(1)).map(({ userId }) => userId)).toEqual(['single-2']);
});

test.each([true, false])(
  'a batch that is fixed goes on without him, under its id; handed over to another: %s',
  async (isHandedOver) => {
    const [one, two, three] = ['one', 'two', 'three'].map((name) => `batch-${name}-${isHandedOver}`) as [
      string,
      string,
      string,
    ];
    let isAway = true;
    play.receiver.answer(() => (isAway ? 503 : 204));
    const after = await pileUp(one, two, three);
    const id = await play.hook({ after, lanes: 1, maxBatch: 100, events: ['user.online'] });
    await attemptsWhen(play.willow, id, 1);
    const [first] = play.receiver.deliveries();
    const positions = first?.events.map(({ position }) => position) ?? [];
    expect(positions).toHaveLength(3);
    await erase(two);
    isAway = false;
    if (isHandedOver) await handOver(play.stage, id);
    else await call(play.willow, 'PATCH', `/webhooks/${id}`, { description: 'try now' });
    expect((await play.receiver.takenWhen(2)).map(({ userId }) => userId)).toEqual([one, three]);
    expect(play.receiver.deliveries().at(-1)?.id).toBe(batchIdOf(id, positions));
    const next = `batch-next-${isHandedOver}`;
    await play.login(next);
    expect((await play.receiver.takenWhen(3)).at(-1)?.userId).toBe(next);
  },
);

test('a batch of nobody else is passed, and so is a run of single events after a refused batch', async () => {
  let refusal: number | null = 503;
  play.receiver.answer(() => refusal ?? 204);
  const after = await pileUp('whole-1');
  const id = await play.hook({ after, lanes: 1, maxBatch: 100 });
  await attemptsWhen(play.willow, id, 1);
  await erase('whole-1');
  refusal = null;
  await handOver(play.stage, id);
  await play.login('whole-2');
  expect((await play.receiver.takenWhen(2)).map(({ userId }) => userId)).toEqual(['whole-2', 'whole-2']);

  // Refused as a batch, its events go one by one; the first is refused again, and waits.
  refusal = 422;
  const from = await pileUp('run-1', 'run-2', 'run-3');
  await call(play.willow, 'POST', `/webhooks/${id}/replay`, { after: from });
  await attemptsWhen(play.willow, id, 5);
  await erase('run-1');
  await erase('run-2');
  refusal = null;
  await handOver(play.stage, id);
  const taken = await play.receiver.takenWhen(4);
  expect(taken.slice(2).map(({ userId }) => userId)).toEqual(['run-3', 'run-3']);
  const { lag } = (await call(play.willow, 'GET', `/webhooks/${id}`)).body as { lag: { events: number } };
  expect(lag.events).toBeLessThanOrEqual(2);
});

test('an endpoint that begins, or is replayed, where only holes are left gets what is behind them', async () => {
  const after = await pileUp('hole-1', 'hole-2', 'hole-3');
  await erase('hole-1');
  await erase('hole-2');
  await play.hook({ after, lanes: 4 });
  expect((await play.receiver.takenWhen(2)).map(({ userId }) => userId)).toEqual(['hole-3', 'hole-3']);
  expect(await announced(play.willow, 'hole-3')).toHaveLength(2);
});

test('under load from a real broker: while everybody comes and goes some are erased; all that is heard is settled, and everybody is whole', async () => {
  const { voice, database } = play.stage;
  const users = Array.from({ length: 12 }, (_, index) => `load-${index}`);
  const before = await play.willow.metric('willow_messages_total');
  const saidBefore = voice.said();
  let isTalking = true;
  let erased = 0;
  const eraser = (async () => {
    for (; isTalking; erased += 1) await erase(users[erased % users.length] ?? '');
  })();
  for (let epoch = 1; epoch <= 60; epoch += 1) {
    const births = users.map((userId) => voice.say('/login', { userId, sessionId: `device-${epoch % 3}`, epoch }));
    const wills = users.map((userId) => voice.say('/logout', { userId, sessionId: `device-${epoch % 3}`, epoch }));
    await Promise.all([...births, ...wills]);
  }
  const count = before + voice.said() - saidBefore;
  expect(await countedWhen(play.willow, 'willow_messages_total', {}, count)).toBe(count);
  isTalking = false;
  await eraser;
  expect(erased).toBeGreaterThan(users.length);
  // One more of each is heard as ever.
  for (const userId of users) await voice.say('/login', { userId, sessionId: 'last', epoch: 1 });
  for (const userId of users) {
    await play.willow.presenceWhen(userId, ({ sessions }) => sessions.some(({ sessionId }) => sessionId === 'last'));
    const told = await announced(play.willow, userId);
    expect((await play.willow.presence(userId)).sequence).toBe(told.length);
    const { rows } = await database.pool.query<{ sessions: number }>(
      'select count(*)::int as sessions from sessions where user_id = $1',
      [userId],
    );
    expect(rows[0]?.sessions).toBe(new Set(told.map((line) => line.split(' ')[1])).size);
  }
  expect(play.willow.log().filter(({ event }) => event === 'loop.failed' || event === 'link.down')).toEqual([]);
});

test('whoever reads his events page by page meanwhile is told his new life from its first event', async () => {
  await play.login('lives', { epoch: 1 });
  await announcedWhen(play.willow, 'lives', 2);
  await play.login('lives', { epoch: 1, sessionId: 'tablet' });
  await announcedWhen(play.willow, 'lives', 3);
  type Page = {
    readonly data: { readonly sequence: number; readonly position: number }[];
    readonly nextCursor: string;
  };
  const page = async (more: string) =>
    (await call(play.willow, 'GET', `/users/lives/events?${more}`)).body as unknown as Page;
  const old = await page('limit=2');
  expect(old.data.map(({ sequence }) => sequence)).toEqual([1, 2]);
  expect((await page(`limit=2&cursor=${old.nextCursor}`)).data.map(({ sequence }) => sequence)).toEqual([3]);
  await erase('lives');
  await play.login('lives', { epoch: 2 });
  await announcedWhen(play.willow, 'lives', 2);
  await play.login('lives', { epoch: 1, sessionId: 'tablet' });
  await announcedWhen(play.willow, 'lives', 3);
  const anew = await page(`limit=2&cursor=${old.nextCursor}`);
  expect(anew.data.map(({ sequence }) => sequence)).toEqual([1, 2]);
  const rest = await page(`limit=2&cursor=${anew.nextCursor}`);
  expect(rest.data.map(({ sequence }) => sequence)).toEqual([3]);
});
