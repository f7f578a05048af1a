// Without epochs less can be promised, and this is what: a redelivery that its receipt tells apart does nothing, a message ends a
// session at most once, and in true order, with connections that outlast the takeover window, presence is the truth. Wills that
// come later than the window, and copies that no receipt knows, can take a newer connection down: that is what epochs are for.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isLive } from '../../src/core/session.ts';
import { holdFor } from './hold-for.ts';
import { lapse, login, logout, Story, will } from './story.ts';

const signals = { login, will, logout };
type Kind = keyof typeof signals;
/** `isUp`: whether the session's newest connection is up, in truth, once this is said. */
type Said = { readonly kind: Kind; readonly session: string; readonly atMs: number; readonly isUp: boolean };

/**
 * How a connection ends: its will is heard before the next birth or, at a takeover, within the window after it; or the broker sends
 * none at a takeover; or the client says goodbye.
 */
const connection = fc.record({
  end: fc.constantFrom('will', 'late will', 'no will', 'logout'),
  lastsMs: fc.integer({ min: 1_000, max: 20_000 }),
  awayMs: fc.integer({ min: 0, max: 20_000 }),
  lateMs: fc.integer({ min: 0, max: 999 }),
});
type Connection = typeof connection extends fc.Arbitrary<infer Value> ? Value : never;

/** What one session says, in true order. Who is taken over is taken over by somebody: then the last connection stays up. */
function timeline(session: string, connections: readonly Connection[]): Said[] {
  const said: Said[] = [];
  let atMs = 0;
  let owedInMs: number | null = null;
  const beBorn = () => {
    said.push({ kind: 'login', session, atMs, isUp: true });
    if (owedInMs !== null) said.push({ kind: 'will', session, atMs: atMs + owedInMs, isUp: true });
    owedInMs = null;
  };
  for (const { end, lastsMs, awayMs, lateMs } of connections) {
    beBorn();
    atMs += lastsMs;
    if (end === 'late will') owedInMs = lateMs;
    if (end === 'late will' || end === 'no will') continue;
    said.push({ kind: end, session, atMs, isUp: false });
    atMs += awayMs;
  }
  const last = connections.at(-1)?.end;
  if (last === 'late will' || last === 'no will') beBorn();
  return said;
}

const names = ['phone', 'tablet', 'watch'];
const lives = fc.array(fc.array(connection, { maxLength: 4 }), { minLength: 1, maxLength: 3 });
const redeliveries = fc.array(fc.record({ which: fc.nat(), laterMs: fc.nat({ max: 30_000 }) }), { maxLength: 10 });

test('I11: in true order presence is the truth at every moment, whatever is redelivered, for connections that outlast the takeover window', () => {
  holdFor(
    fc.property(lives, redeliveries, fc.constantFrom(0, 5_000), (lived, again, graceMs) => {
      const said = lived
        .flatMap((connections, index) => timeline(names[index] as string, connections))
        .map((one) => ({ ...one, isRedelivery: false }));
      const copies = again.flatMap(({ which, laterMs }) =>
        said
          .slice(which % (said.length + 1))
          .slice(0, 1)
          .map((one) => ({ ...one, atMs: one.atMs + laterMs, isRedelivery: true })),
      );
      const story = new Story({ graceMs });
      const { nowMs } = story;
      const isUpNow = new Map<string, boolean>();
      for (const { kind, session, atMs, isUp, isRedelivery } of [...said, ...copies].sort((a, b) => a.atMs - b.atMs)) {
        story.nowMs = nowMs + atMs;
        story.hear(signals[kind](null, session, { isRedelivery }));
        if (!isRedelivery) isUpNow.set(session, isUp);
        for (const [name, up] of isUpNow) expect(story.state(name).startsWith('online'), `${name} at ${atMs}`).toBe(up);
      }
      story.pass(60_000).hear(lapse);
      for (const [name, up] of isUpNow) expect(story.state(name).split('@')[0]).toBe(up ? 'online' : 'ended');
    }),
    500,
  );
});

const heard = fc.record({
  kind: fc.constantFrom('login', 'will', 'logout'),
  session: fc.constantFrom('phone', 'tablet'),
  isBare: fc.boolean(),
  copies: fc.nat({ max: 2 }),
  gapMs: fc.constantFrom(0, 1, 999, 1_000, 5_001, 10_000),
});

test('I1, by receipts: in any order, a session ends no more often than leaves that concern it were heard', () => {
  holdFor(
    fc.property(fc.array(heard, { maxLength: 30 }), fc.constantFrom(0, 5_000), (said, graceMs) => {
      const story = new Story({ graceMs });
      const leaves = { phone: 0, tablet: 0, default: 0 };
      for (const { kind, session, isBare, copies, gapMs } of said) {
        const who = isBare ? null : session;
        const signal = (isRedelivery: boolean) =>
          kind === 'login'
            ? login(null, session, { isRedelivery })
            : signals[kind](null, who as string, { isRedelivery });
        story.pass(gapMs).hear(signal(false));
        for (let copy = 0; copy < copies; copy += 1) expect(story.hear(signal(true)).outcome).toBe('repeat');
        if (kind === 'login') continue;
        for (const name of Object.keys(leaves) as (keyof typeof leaves)[]) {
          if (isBare || name === session) leaves[name] += 1;
        }
      }
      story.pass(60_000).hear(lapse);
      for (const [name, count] of Object.entries(leaves)) expect(story.ends(name).length).toBeLessThanOrEqual(count);
    }),
  );
});

test('a bare will that is not stale leaves no session online, and it is stale only when a login took over less than the window ago', () => {
  holdFor(
    fc.property(fc.array(heard, { maxLength: 30 }), fc.constantFrom(0, 5_000), (said, graceMs) => {
      const story = new Story({ graceMs });
      let tookOverAtMs = Number.NEGATIVE_INFINITY;
      for (const { kind, session, isBare, gapMs } of said) {
        story.pass(gapMs);
        const wasOnline = story.state(session).startsWith('online');
        if (kind === 'login') story.hear(login(null, session));
        else {
          const { outcome } = story.hear(signals[kind](null, isBare ? null : session));
          if (outcome === 'stale') expect(story.nowMs - tookOverAtMs).toBeLessThan(1_000);
          const concerned = [...story.user.sessions.values()].filter(
            ({ sessionId }) => isBare || sessionId === session,
          );
          if (outcome !== 'stale') expect(concerned.filter(({ status }) => status === 'online')).toEqual([]);
          if (kind === 'logout') expect(concerned.filter(isLive)).toEqual([]);
        }
        if (kind === 'login' && wasOnline) tookOverAtMs = story.nowMs;
      }
    }),
  );
});
