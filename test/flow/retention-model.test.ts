// Users who come and go for months, by a clock that the test sets; webhooks that are made, paused, enabled, sent back; a retention that dies
// between any two of its statements. After every step nothing is gone that anybody is entitled to.

import { expect, test } from 'vitest';
import { decide } from '../../src/core/decide.ts';
import { Epoch, SessionId, UserId } from '../../src/core/ids.ts';
import { commit, type Entry } from '../../src/store/commit.ts';
import { changeEndpoint, createEndpoint, enableEndpoint, replayEndpoint } from '../../src/store/endpoints.ts';
import { eraseUser } from '../../src/store/erase.ts';
import { giveUpEvents, sweepGivenUp } from '../../src/store/retention.ts';
import { actor, openTables, sealing, type Tables, wish } from '../support/endpoints.ts';
import { Ledger, readLogRow } from '../support/retention.ts';
import { type Chance, chancesOf, stormRounds } from '../support/storm.ts';

const rules = { graceMs: 0, repeatWindowMs: 10_000, takeoverWindowMs: 1_000, leaseMs: 0 };
const dayMs = 86_400_000;
const keptMs = 5 * dayMs;
const stepsMax = 90;
const momentsMax = 12;

class World {
  readonly tables: Tables;
  readonly chance: Chance;
  readonly ledger = new Ledger();
  nowMs = Date.parse('2026-01-01T00:00:00Z');
  /** Where retention dies: it does so before its nth statement. */
  died = 0;
  #epoch = 1;

  constructor(tables: Tables, chance: Chance) {
    this.tables = tables;
    this.chance = chance;
  }

  /** One batch. Some users have a device, others a new session id for each login. */
  async write(): Promise<void> {
    const { chance, tables } = this;
    this.nowMs += chance.whole(8 * 3_600_000);
    const entries = Array.from({ length: 1 + chance.whole(24) }, (): Entry => {
      this.#epoch += 1;
      const user = chance.whole(5);
      const session = user < 3 ? `device-${chance.whole(3)}` : `login-${Math.floor(this.#epoch / 2)}`;
      const kind = chance.pick(['login', 'login', 'will', 'logout'] as const);
      const identity = { userId: UserId.parse(`u${user}`), sessionId: SessionId.parse(session) };
      const said = { epoch: Epoch.parse(this.#epoch), clientId: null, device: null, isRedelivery: false, ticket: null };
      const nowMs = this.nowMs + chance.pick([0, 0, 7, -30_000]);
      const signal = { kind, ...identity, ...said, ...(kind === 'logout' && { reason: 'logout' }) } as Entry['signal'];
      return { signal, nowMs, lapseUntilMs: null, receipt: null, mayBeCommitted: false };
    });
    await commit(tables.pool, entries, (user, signal, moment) => decide(user, signal, moment, rules), null);
    await this.ledger.hear(tables.pool);
  }

  async erase(): Promise<void> {
    const user = `u${this.chance.whole(5)}`;
    await eraseUser(this.tables.pool, UserId.parse(user), actor);
    this.ledger.erase(user);
  }

  /** In any state: dead before its nth statement, or whole. */
  async retain(): Promise<void> {
    let left = this.chance.pick([0, 1, 2, 3, 9, 9, 9]);
    const mortal = Object.create(this.tables.pool) as Tables['pool'];
    const query = this.tables.pool.query.bind(this.tables.pool) as (statement: unknown) => Promise<unknown>;
    mortal.query = ((statement: unknown) => {
      left -= 1;
      if (left < 0) throw new Error('killed on purpose');
      return query(statement);
    }) as typeof mortal.query;
    try {
      const horizonMs = this.nowMs - keptMs;
      await giveUpEvents(mortal, horizonMs, this.stretch());
      await sweepGivenUp(mortal, this.stretch());
    } catch (error) {
      if (left >= 0) throw error;
      this.died += 1;
    }
  }

  /** Small ones, so that users fall into many. */
  stretch(): number {
    return this.chance.pick([1, 3, 10, 40]);
  }

  async endpoints(): Promise<readonly { readonly id: string; readonly status: string; readonly position: number }[]> {
    const { rows } = await this.tables.pool.query<{ id: string; status: string; position: number }>(
      `select e.id, e.status, min(l.position)::float8 as position from endpoints e join lanes l on l.endpoint_id = e.id group by 1, 2`,
    );
    return rows;
  }

  /** Registrations, pauses, replays; lanes that come on. What is refused must be refused, and nothing else. */
  async manage(): Promise<void> {
    const { chance, tables } = this;
    const { pool } = tables;
    const { trimmed } = await readLogRow(pool);
    const all = await this.endpoints();
    const newest = this.ledger.events.at(-1)?.position ?? 0;
    const after = chance.whole(newest + 1);
    if (all.length === 0 || (all.length < 3 && chance.isIn(0.2))) {
      const made = await createEndpoint(pool, sealing, { ...wish, lanes: 2, after, isEnabled: true }, actor);
      expect(made.kind).toBe(after < trimmed ? 'gone' : 'done');
      return;
    }
    const one = chance.pick(all);
    const deed = chance.pick(['come on', 'come on', 'come on', 'pause', 'enable', 'replay'] as const);
    if (deed === 'come on') {
      await pool.query(
        `update lanes set position = position + floor(random() * ((select position from log_head) - position + 1)) where endpoint_id = $1`,
        [one.id],
      );
    }
    if (deed === 'pause') await changeEndpoint(pool, one.id, { isEnabled: false }, actor);
    if (deed === 'enable') {
      const { kind } = await enableEndpoint(pool, one.id, actor);
      expect(kind).toBe(one.position < trimmed ? 'gone' : 'done');
      // As the documents tell to: it goes on from what is left.
      if (kind === 'gone') await replayEndpoint(pool, one.id, trimmed, actor);
    }
    if (deed === 'replay') {
      const { kind } = await replayEndpoint(pool, one.id, after, actor);
      expect(kind).toBe(after < trimmed ? 'gone' : 'done');
    }
  }

  async problems(): Promise<readonly string[]> {
    const { events } = this.ledger;
    const ofEvents = events.length === 0 ? [] : Array.from({ length: momentsMax }, () => this.chance.pick(events).atMs);
    const { trimmed, horizonMs } = await readLogRow(this.tables.pool);
    const moments = ofEvents.map((ms) => ms + this.chance.pick([-1, 0, 1]));
    const passed = (await this.endpoints()).filter(
      ({ status, position }) => status === 'enabled' && position < trimmed,
    );
    return [
      ...(await this.ledger.missing(this.tables.pool, [...moments, horizonMs ?? 0, (horizonMs ?? 0) + 1])),
      ...passed.map(({ id, position }) => `${id} has got ${position}, and the log is trimmed to ${trimmed}`),
      ...((horizonMs ?? 0) >= this.nowMs - keptMs + 1 ? ['the horizon is younger than it may be'] : []),
    ];
  }
}

const rounds = chancesOf('retention', stormRounds(3));

test.each(rounds)(
  'whatever happens, nothing goes that anybody is entitled to, and nothing stays for ever',
  async ({ seed, chance }) => {
    await using tables = await openTables();
    const world = new World(tables, chance);
    for (let step = 0; step < stepsMax; step += 1) {
      const roll = chance.whole(20);
      if (roll < 9) await world.write();
      else if (roll < 15) await world.retain();
      else if (roll < 19) await world.manage();
      else await world.erase();
      expect(await world.problems(), `seed ${seed}, step ${step}`).toEqual([]);
    }
    expect(world.died).toBeGreaterThan(0);
    // Everybody has got everything; a month goes by.
    await tables.pool.query('update lanes set position = (select position from log_head)');
    world.nowMs += 30 * dayMs;
    for (let isMore = true; isMore; ) {
      const given = await giveUpEvents(tables.pool, world.nowMs - keptMs);
      isMore = (await sweepGivenUp(tables.pool)).isMore || given.isMore;
    }
    expect(await world.problems()).toEqual([]);
    expect(await world.ledger.leftBehind(tables.pool)).toEqual([]);
    const { trimmed } = await readLogRow(tables.pool);
    expect(trimmed).toBe(world.ledger.events.at(-1)?.position);
  },
);
