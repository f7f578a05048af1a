// Two batches on their way at once: whatever becomes of the first, the log is as if the second had been begun after it. The witness holds up
// statements, so that each moment is met for certain.

import { expect, onTestFinished, test } from 'vitest';
import { devicesIn, isWrite, type Strike } from '../support/commit-witness.ts';
import { openPipeline, type Pipeline } from '../support/pipeline.ts';
import type { Outgoing } from '../support/scripted-broker.ts';
import { until } from '../support/until.ts';

/** No grace, no windows: every will is announced unless it is known to be a repeat. */
const strict = { GRACE_MS: '0', REPEAT_WINDOW_MS: '0', TAKEOVER_WINDOW_MS: '0' };
const story = ['alice session.started', 'alice user.online', 'alice session.ended', 'alice user.offline'];

/** Without session and epoch: only the order and the receipt can tell what it means (I4). */
function bare(n: number, topic: '/login' | '/logout', userId: string, device: object = {}): Outgoing {
  return { n, topic, payload: JSON.stringify({ userId, device: { ...device, n } }) };
}

const nonsense = (n: number): Outgoing => ({ n, topic: '/logout/a/b/c', payload: 'nothing' });

/** Statements of one kind wait while it is shut. */
class Gate {
  readonly #isOfKind: (statement: string) => boolean;
  #opened: PromiseWithResolvers<void> | null = null;

  constructor(isOfKind: (statement: string) => boolean) {
    this.#isOfKind = isOfKind;
    // Whatever fails, nothing waits for ever.
    onTestFinished(() => this.open());
  }

  shut(): void {
    this.#opened ??= Promise.withResolvers<void>();
  }

  open(): void {
    this.#opened?.resolve();
    this.#opened = null;
  }

  readonly before = async (statement: string): Promise<void> => {
    if (this.#isOfKind(statement)) await this.#opened?.promise;
  };
}

function open(gate: Gate, strike: (statement: string, values: readonly unknown[]) => Strike | null = () => null) {
  return openPipeline({ settings: strict, before: gate.before, strike });
}

const isDecided = async ({ witness }: Pipeline, n: number, times = 1): Promise<void> => {
  await until(`${n} is decided`, () => witness.of(n).length >= times);
};

/** Behind two batches that are on their way, which bob and carol are in, what comes waits. */
async function inOneBatch(
  willow: Pipeline,
  writes: Gate,
  messages: readonly Outgoing[],
  andThen: () => void = () => undefined,
): Promise<void> {
  writes.shut();
  willow.broker.publish([bare(100, '/login', 'bob')]);
  await isDecided(willow, 100);
  willow.broker.publish([bare(101, '/login', 'carol')]);
  await isDecided(willow, 101);
  willow.broker.publish(messages);
  andThen();
  await willow.heard();
  writes.open();
}

/** As many in a row as make one commit give up. */
const conflictsMax = 8;

test('I9: a batch that is given up after conflicts, because the link is cut, takes the one behind it with it', async () => {
  const gate = new Gate(isWrite);
  let conflicts = 0;
  await using willow = await open(gate, (statement) =>
    isWrite(statement) && conflicts++ < conflictsMax ? 'conflict' : null,
  );
  gate.shut();
  willow.broker.publish([bare(0, '/login', 'alice')]);
  await isDecided(willow, 0);
  willow.broker.publish([bare(1, '/logout', 'alice')]);
  await isDecided(willow, 1);
  willow.broker.cut();
  gate.open();
  await willow.settled();
  expect(conflicts).toBeGreaterThan(conflictsMax);
  expect(await willow.log()).toEqual(story);
});

test('I9: a process that stops in the middle of two batches ends both, and the next one begins with the first', async () => {
  const writes = new Gate(isWrite);
  let conflicts = 0;
  // From the last conflict on: whoever reads then tries again what should be over.
  const reads = new Gate((statement) => statement === 'load-users' && conflicts >= conflictsMax);
  await using willow = await openPipeline({
    settings: strict,
    before: async (statement) => {
      await writes.before(statement);
      await reads.before(statement);
    },
    strike: (statement) => (isWrite(statement) && conflicts++ < conflictsMax ? 'conflict' : null),
  });
  writes.shut();
  reads.shut();
  willow.broker.publish([bare(0, '/login', 'alice')]);
  await isDecided(willow, 0);
  willow.broker.publish([bare(1, '/logout', 'alice')]);
  await isDecided(willow, 1);
  const stopped = willow.stop();
  writes.open();
  await stopped;
  expect(conflicts).toBe(conflictsMax);
  expect(willow.witness.underWay).toEqual([]);
  reads.open();
  await willow.restart();
  await willow.settled();
  expect(await willow.log()).toEqual(story);
});

test('I9: when a batch fails before it is decided, the one behind it waits until the broker has delivered both again', async () => {
  const writes = new Gate(isWrite);
  const quarantine = new Gate((statement) => statement === 'quarantine');
  let refusals = 1;
  await using willow = await openPipeline({
    settings: strict,
    before: async (statement) => {
      await writes.before(statement);
      await quarantine.before(statement);
    },
    strike: (statement) => (statement === 'quarantine' && refusals-- > 0 ? 'refuse' : null),
  });
  quarantine.shut();
  await inOneBatch(willow, writes, [nonsense(2), bare(0, '/login', 'alice')]);
  await until('the quarantine is asked', () => willow.witness.underWay.includes('quarantine'));
  willow.broker.publish([bare(1, '/logout', 'alice')]);
  await willow.heard();
  quarantine.open();
  await willow.settled();
  expect(refusals).toBeLessThan(0);
  expect((await willow.log()).filter((line) => line.startsWith('alice'))).toEqual(story);
});

test('what the database refuses of one batch takes nothing of the one behind it into quarantine', async () => {
  const gate = new Gate(isWrite);
  let refusals = 1;
  await using willow = await open(gate, (statement, values) => {
    if (isWrite(statement)) return devicesIn(values).some((device) => device.includes('poison')) ? 'refuse' : null;
    return statement === 'quarantine' && refusals-- > 0 ? 'refuse' : null;
  });
  gate.shut();
  willow.broker.publish([bare(0, '/login', 'mallory', { poison: true })]);
  await isDecided(willow, 0);
  willow.broker.publish([bare(1, '/login', 'alice'), bare(2, '/login', 'bob')]);
  await isDecided(willow, 1);
  gate.open();
  await willow.settled();
  expect(refusals).toBeLessThan(0);
  const { rows } = await willow.database.pool.query<{ payload: Buffer }>('select payload from quarantine');
  expect(rows.filter(({ payload }) => !String(payload).includes('mallory'))).toEqual([]);
  expect((await willow.log()).filter((line) => line.endsWith('user.online'))).toHaveLength(2);
});

async function openAlice(): Promise<{ readonly willow: Pipeline; readonly writes: Gate }> {
  const writes = new Gate(isWrite);
  const willow = await open(writes);
  willow.broker.publish([bare(0, '/login', 'alice')]);
  await willow.settled();
  return { willow, writes };
}

test('I1, I4: a message that the broker delivers again on the same connection, while the first is being written, is a repeat', async () => {
  const { willow: opened, writes } = await openAlice();
  await using willow = opened;
  writes.shut();
  willow.broker.publish([bare(1, '/logout', 'alice')]);
  await isDecided(willow, 1);
  expect(willow.broker.repeat(() => 0)).toBe(true);
  await isDecided(willow, 1, 2);
  writes.open();
  await willow.settled();
  expect(await willow.log()).toEqual(story);
});

test('I1, I4: a message and its redelivery in one batch are one', async () => {
  const { willow: opened, writes } = await openAlice();
  await using willow = opened;
  await inOneBatch(willow, writes, [bare(1, '/logout', 'alice')], () => willow.broker.repeat(() => 2));
  await willow.settled();
  const numbers = willow.witness.of(1).map(({ decided }) => decided.map(({ n }) => n));
  expect(numbers).toEqual([[1, 1]]);
  expect((await willow.log()).filter((line) => line.startsWith('alice'))).toEqual(story);
});

test('a batch that waited for the one before is written with what was heard of the broker by then', async () => {
  const { willow: opened, writes } = await openAlice();
  await using willow = opened;
  writes.shut();
  willow.broker.publish([bare(1, '/logout', 'alice')]);
  await isDecided(willow, 1);
  willow.broker.publish([bare(2, '/login', 'alice')]);
  await isDecided(willow, 2);
  const sinceMs = Date.now();
  await willow.heard();
  writes.open();
  await willow.settled();
  const { rows } = await willow.database.pool.query<{ at: Date }>('select at from receipts order by at desc limit 1');
  expect(rows[0]?.at.getTime()).toBeGreaterThan(sinceMs);
});
