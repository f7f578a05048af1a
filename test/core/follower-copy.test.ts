// The copy of the reference follower, without Willow: what it takes, what it passes over, what it refuses, and when it is served.

import { expect, test } from 'vitest';
import type { LogEvent, SnapshotUser } from '../../examples/follower/follower.ts';
import { openSqliteCopy } from '../../examples/follower/sqlite-copy.ts';

const at = (second: number) => `2026-11-23T09:30:0${second}.000Z`;
const ada: SnapshotUser = {
  userId: 'ada',
  status: 'online',
  since: at(0),
  sequence: 2,
  sessions: [{ sessionId: 'phone' }],
};

function event(position: number, type: LogEvent['type'], sequence: number, more: Partial<LogEvent> = {}): LogEvent {
  return { position, sequence, type, userId: 'ada', sessionId: 'phone', at: at(position % 10), ...more };
}

/** Of a snapshot that was begun at 10, while its last page was read at 12. */
function openCopy() {
  const copy = openSqliteCopy(':memory:');
  copy.add([ada], 12);
  copy.complete(10, 12);
  return copy;
}

test('nothing is served before the events up to the head of the last page are in', () => {
  using copy = openSqliteCopy(':memory:');
  expect(copy.presenceOf('ada')).toBeNull();
  copy.add([ada], 12);
  expect(copy.position(), 'a snapshot that is not whole is begun again').toBeNull();
  copy.complete(10, 12);
  expect(copy.position()).toBe(10);
  expect(copy.presenceOf('ada')).toBeNull();
  expect(copy.apply([], 11)).toBe(true);
  expect(copy.presenceOf('ada')).toBeNull();
  expect(copy.apply([], 12)).toBe(true);
  expect(copy.presenceOf('ada')).toMatchObject({ status: 'online', sequence: 2, sessionIds: ['phone'], position: 12 });
  expect(copy.presenceOf('nobody')).toMatchObject({ status: 'offline', since: null, sequence: 0, sessionIds: [] });
});

test('what the page of a user already had, and what comes twice, is passed over', () => {
  using copy = openCopy();
  const events = [event(13, 'session.ended', 3), event(14, 'user.offline', 4)];
  const alreadyThere = [event(11, 'session.started', 1), event(12, 'user.online', 2)];
  expect(copy.apply([...alreadyThere, ...events], 14)).toBe(true);
  expect(copy.apply(events, 14)).toBe(true);
  expect(copy.presenceOf('ada')).toMatchObject({ status: 'offline', since: at(4), sequence: 4, sessionIds: [] });
  expect(copy.apply([], 9)).toBe(true);
  expect(copy.position(), 'a position does not go back').toBe(14);
});

test('events that do not follow on the copy are refused, all of them, and the position stays', () => {
  using copy = openCopy();
  const others = { userId: 'bob', sessionId: 'tablet' };
  expect(copy.apply([event(13, 'session.started', 1, others), event(14, 'session.ended', 4)], 14)).toBe(false);
  expect(copy.position()).toBe(10);
  copy.apply([], 12);
  expect(copy.presenceOf('bob')).toMatchObject({ sequence: 0, sessionIds: [] });
});

test('whoever was erased and comes back begins anew', () => {
  using copy = openCopy();
  copy.apply([event(13, 'session.started', 1, { sessionId: 'tablet' }), event(14, 'user.online', 2)], 14);
  expect(copy.presenceOf('ada')).toMatchObject({ status: 'online', sequence: 2, sessionIds: ['tablet'] });
});

test('a user is forgotten, but not one who was heard of since', () => {
  using copy = openCopy();
  copy.apply([], 14);
  copy.forget('ada', 11);
  expect(copy.presenceOf('ada')).toMatchObject({ sequence: 2, sessionIds: ['phone'] });
  copy.forget('ada', 12);
  expect(copy.presenceOf('ada')).toMatchObject({ status: 'offline', sequence: 0, sessionIds: [] });
});
