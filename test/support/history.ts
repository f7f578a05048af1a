// The oracle of the storms: what the log must say, given what was published. With grace it depends on the time at which Willow heard a
// message whether a session returned before its grace was over: then one of the possible logs must be the log, event for event.

import type pg from 'pg';
import { expectedEvents, type ModelEvent } from './model.ts';
import { lastUser, type Said } from './storm.ts';
import type { Willow } from './willow.ts';

/** An event of one user; those of an implied session have no epoch when the will had none. */
export type Announced = Omit<ModelEvent, 'epoch'> & { readonly epoch: number | null };

/** The events of each user, in the order of their positions. */
export type Log = ReadonlyMap<string, readonly Announced[]>;

type Row = {
  readonly position: string;
  readonly user_id: string;
  readonly sequence: string;
  readonly type: Announced['type'];
  readonly session_id: string;
  readonly epoch: string | null;
  readonly reason: Announced['reason'];
  readonly head: string;
};

/** The log without the last user; throws when its positions are not 1, 2, 3 … up to its head. */
export async function readLog(pool: pg.Pool): Promise<Log> {
  const { rows } = await pool.query<Row>(
    `select e.position, e.user_id, e.sequence, e.type, e.session_id, e.epoch, e.reason, h.position as head
     from log_head h left join events e on true order by e.position`,
  );
  const events = rows.filter(({ position }) => position !== null);
  const gap = events.findIndex(({ position }, index) => Number(position) !== index + 1);
  if (gap !== -1 || Number(rows[0]?.head) !== events.length)
    throw new Error(`the positions have a gap after ${gap} of ${events.length}, and the head is ${rows[0]?.head}`);
  const log = new Map<string, Announced[]>();
  for (const { type, user_id: userId, sequence, session_id: sessionId, epoch, reason } of events) {
    const event = { type, userId, sequence: Number(sequence), sessionId, epoch: epoch === null ? null : Number(epoch) };
    log.set(userId, [...(log.get(userId) ?? []), { ...event, reason }]);
  }
  log.delete(lastUser);
  return log;
}

const shownMax = 3;

/** What is wrong with the log, user by user; with grace each user may have one session only. */
export function deviations(log: Log, said: readonly Said[], graceMs: number): readonly string[] {
  const saidBy = Map.groupBy(said, ({ userId }) => userId);
  const wrong = [...saidBy].filter(
    ([userId, messages]) => !possibleLogs(messages, graceMs).has(textOf(log.get(userId) ?? [])),
  );
  const strangers = [...log.keys()].filter((userId) => !saidBy.has(userId));
  return [
    ...strangers.map((userId) => `${userId} said nothing, and is in the log`),
    ...wrong.slice(0, shownMax).map(([userId, messages]) => {
      const told = messages.map(({ kind, sessionId, epoch }) => `${kind} ${sessionId}@${epoch}`).join(', ');
      const [possible] = possibleLogs(messages, graceMs);
      return `${userId} said: ${told}\nthe log is:\n${textOf(log.get(userId) ?? [])}\nand might be:\n${possible}`;
    }),
    ...(wrong.length > shownMax ? [`… and ${wrong.length - shownMax} more`] : []),
  ];
}

/** As `deviations`, where exactly one log is possible. */
export function deviationsFrom(log: Log, expected: Log): readonly string[] {
  const users = [...new Set([...expected.keys(), ...log.keys()])];
  const pairs = users.map((userId) => ({
    is: textOf(log.get(userId) ?? []),
    mustBe: textOf(expected.get(userId) ?? []),
  }));
  const wrong = pairs.filter(({ is, mustBe }) => is !== mustBe);
  return wrong.slice(0, shownMax).map(({ is, mustBe }) => `the log is:\n${is}\nand must be:\n${mustBe}`);
}

/** For each will: the next message found its grace over, or not. */
function possibleLogs(said: readonly Said[], graceMs: number): ReadonlySet<string> {
  const wills = said.flatMap(({ kind }, index) => (kind === 'will' ? [index] : []));
  const logs = new Set<string>();
  for (let lapsed = 0; lapsed < 2 ** (graceMs === 0 ? 0 : wills.length); lapsed += 1) {
    let atMs = 0;
    const messages = said.map((message, index) => {
      const decided = { ...message, atMs };
      const will = wills.indexOf(index);
      if (will !== -1 && (lapsed & (1 << will)) !== 0) atMs += graceMs + 1;
      return decided;
    });
    for (const events of expectedEvents(messages, graceMs, atMs + graceMs + 1).values()) logs.add(textOf(events));
  }
  return logs;
}

function textOf(events: readonly Announced[]): string {
  return events
    .map(
      ({ userId, sequence, type, sessionId, epoch, reason }) =>
        `  ${userId} ${sequence}: ${type} ${sessionId}@${epoch}${reason === null ? '' : ` by ${reason}`}`,
    )
    .join('\n');
}

/** The users whose presence is not what the log makes of them. */
export async function absentees(willow: Willow, log: Log): Promise<readonly string[]> {
  const wrong: string[] = [];
  for (const [userId, events] of log) {
    const live = new Set<string>();
    for (const { type, sessionId } of events) {
      if (type === 'session.started') live.add(sessionId);
      if (type === 'session.ended') live.delete(sessionId);
    }
    const { status, sequence, sessions, stale } = await willow.presence(userId);
    const shown = [status, sequence, stale, ...sessions.map(({ sessionId }) => sessionId).toSorted()].join(' ');
    const must = [live.size > 0 ? 'online' : 'offline', events.length, false, ...[...live].toSorted()].join(' ');
    if (shown !== must) wrong.push(`${userId}: is ${shown}, must be ${must}`);
  }
  return wrong;
}
