// What must still be there when retention has gone by, from a copy of everything that ever was: the events of every user, and his sessions.

import type pg from 'pg';

export type KeptEvent = {
  readonly position: number;
  readonly user: string;
  readonly sequence: number;
  readonly type: string;
  readonly atMs: number;
};

type Log = { readonly trimmed: number; readonly tail: number; readonly horizonMs: number | null };

type EndedAt = Map<string, number | null>;

const turns = ['user.online', 'user.offline'];

export async function readLogRow(pool: pg.Pool): Promise<Log> {
  const { rows } = await pool.query<Log>(
    `select h.trimmed::float8, t.position::float8 as tail, (extract(epoch from h.horizon) * 1000)::float8 as "horizonMs"
     from log_head h, log_tail t`,
  );
  const [row] = rows;
  if (row === undefined) throw new Error('the log has no head');
  return row;
}

export async function readKept(pool: pg.Pool, after = -1): Promise<readonly KeptEvent[]> {
  const { rows } = await pool.query<KeptEvent>(
    `select position::float8, user_id as user, sequence::float8, type, (extract(epoch from at) * 1000)::float8 as "atMs"
     from events where position > $1 order by position`,
    [after],
  );
  return rows;
}

/** What a user was at a time, and since when, by these events of his. */
function asOf(events: readonly KeptEvent[], atMs: number): string {
  const past = events.filter((event) => event.atMs <= atMs);
  const turn = past.findLast(({ type }) => turns.includes(type));
  return `${turn?.type} since ${turn?.atMs}, sequence ${past.at(-1)?.sequence ?? 0}`;
}

/** Everything that was ever written, and what was found of it afterwards. */
export class Ledger {
  #events: KeptEvent[] = [];
  #heardTo = -1;
  readonly #sessions = new Map<string, EndedAt>();

  get events(): readonly KeptEvent[] {
    return this.#events;
  }

  /** After each write, before retention goes on. */
  async hear(pool: pg.Pool): Promise<void> {
    const newest = await readKept(pool, this.#heardTo);
    this.#events.push(...newest);
    this.#heardTo = newest.at(-1)?.position ?? this.#heardTo;
    for (const [user, sessions] of await readSessions(pool)) {
      const known: EndedAt = this.#sessions.get(user) ?? new Map();
      for (const [session, endedAtMs] of sessions) known.set(session, endedAtMs);
      this.#sessions.set(user, known);
    }
  }

  /** Everything that a reader is still entitled to, and does not find. `moments` are asked of each user. */
  async missing(pool: pg.Pool, moments: readonly number[]): Promise<readonly string[]> {
    const { trimmed, horizonMs } = await readLogRow(pool);
    const kept = await readKept(pool);
    const there = new Set(kept.map(({ position }) => position));
    const gone = this.#events.filter(({ position }) => position > trimmed && !there.has(position));
    const trimmedMs = this.#events.filter(({ position }) => position <= trimmed).map(({ atMs }) => atMs);
    const newestMs = trimmedMs.length === 0 ? null : Math.max(...trimmedMs);
    const problems = gone.map(
      ({ position }) => `the event at ${position} is gone, and only those up to ${trimmed} may be`,
    );
    if ((newestMs ?? 0) > (horizonMs ?? 0)) problems.push(`the horizon is ${horizonMs}, and ought to be ${newestMs}`);
    const keptOf = Map.groupBy(kept, ({ user }) => user);
    for (const [user, events] of Map.groupBy(this.#events, (event) => event.user)) {
      const left = keptOf.get(user) ?? [];
      if (left.at(-1)?.sequence !== events.at(-1)?.sequence) problems.push(`the newest event of ${user} is gone`);
      for (const atMs of moments.filter((moment) => horizonMs === null || moment >= horizonMs)) {
        const [now, truth] = [asOf(left, atMs), asOf(events, atMs)];
        if (now !== truth) problems.push(`${user} at ${atMs}: ${now}, and was: ${truth}`);
      }
    }
    return [...problems, ...(await this.#missingSessions(pool, horizonMs))];
  }

  /** Only sessions that ended by the horizon may be gone, and none of the newest of those. What is rightly gone is forgotten. */
  async #missingSessions(pool: pg.Pool, horizonMs: number | null): Promise<readonly string[]> {
    const found = await readSessions(pool);
    return [...this.#sessions].flatMap(([user, sessions]) => {
      const old = [...sessions.values()].flatMap((ms) => (ms !== null && ms <= (horizonMs ?? -1) ? [ms] : []));
      return [...sessions].flatMap(([session, endedAtMs]) => {
        if (found.get(user)?.has(session) === true) return [];
        const isOld = endedAtMs !== null && old.includes(endedAtMs);
        if (isOld && old.filter((ms) => ms >= endedAtMs).length > rememberedMax) {
          sessions.delete(session);
          return [];
        }
        return [`the session ${session} of ${user} is gone`];
      });
    });
  }

  erase(user: string): void {
    this.#events = this.#events.filter((event) => event.user !== user);
    this.#sessions.delete(user);
  }

  /** What is still there though nobody needs it, once all that was given up has been looked at. */
  async leftBehind(pool: pg.Pool): Promise<readonly string[]> {
    const { trimmed, tail, horizonMs } = await readLogRow(pool);
    const problems = tail === trimmed ? [] : [`up to ${trimmed} is given up, and up to ${tail} deleted`];
    const old = (await readKept(pool)).filter(({ position }) => position <= trimmed);
    for (const [user, events] of Map.groupBy(old, (event) => event.user)) {
      const wanted = new Set([events.at(-1), events.findLast(({ type }) => turns.includes(type))]);
      const more = events.filter((event) => !wanted.has(event));
      if (more.length > 0) problems.push(`${user} has ${more.length} old events that nobody needs`);
    }
    for (const [user, sessions] of await readSessions(pool)) {
      const count = [...sessions].filter(
        ([, endedAtMs]) => endedAtMs !== null && endedAtMs <= (horizonMs ?? -1),
      ).length;
      if (count > rememberedMax) problems.push(`${user} has ${count} sessions that ended by the horizon`);
    }
    return problems;
  }
}

/** As SPEC.md has it. */
const rememberedMax = 32;

async function readSessions(pool: pg.Pool): Promise<ReadonlyMap<string, EndedAt>> {
  const { rows } = await pool.query<{ user: string; session: string; endedAtMs: number | null }>(
    `select user_id as user, session_id as session, (extract(epoch from ended_at) * 1000)::float8 as "endedAtMs" from sessions`,
  );
  const ofUser = Map.groupBy(rows, ({ user }) => user);
  return new Map([...ofUser].map(([user, all]) => [user, new Map(all.map((row) => [row.session, row.endedAtMs]))]));
}
