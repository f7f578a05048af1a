// What a receiver is sent: one form for every event, ids that follow from the events, and lanes that never move.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Epoch, SessionId, UserId } from '../../src/core/ids.ts';
import { eventTypes } from '../../src/core/session.ts';
import { WebhookBody, webhookBodies } from '../../src/core/wire-event.ts';
import { batchIdOf, type LogEvent, laneHash, laneOf, messageOf, testMessage } from '../../src/webhooks/message.ts';

const isEnd = (type: LogEvent['type']) => type === 'session.ended' || type === 'user.offline';

function eventAt(position: number, type: LogEvent['type'] = 'session.started'): LogEvent {
  return {
    position,
    sequence: 3,
    type,
    userId: UserId.parse('42'),
    sessionId: SessionId.parse('phone'),
    epoch: Epoch.parse(7),
    reason: isEnd(type) ? 'will' : null,
    device: { os: 'ios', build: [1, null] },
    atMs: Date.UTC(2026, 10, 23, 9, 30, 0, 5),
  };
}

describe('a message', () => {
  test.each(eventTypes)('of one %s is that event, with a reason on ends only', (type) => {
    const message = messageOf('whe_1', [eventAt(1001, type)]);
    expect(message.id).toBe('whe_1_1001');
    expect(JSON.parse(message.body)).toEqual({
      type,
      timestamp: '2026-11-23T09:30:00.005Z',
      data: {
        position: 1001,
        sequence: 3,
        type,
        userId: '42',
        sessionId: 'phone',
        epoch: 7,
        ...(isEnd(type) && { reason: 'will' }),
        device: { os: 'ios', build: [1, null] },
        at: '2026-11-23T09:30:00.005Z',
      },
    });
  });

  test('has the documented form, nothing left out and nothing added', () => {
    const all = eventTypes.map((type, index) => eventAt(index + 1, type));
    const messages = [...all.map((event) => messageOf('whe_1', [event])), messageOf('whe_1', all)];
    for (const { body } of [...messages, testMessage('whe_1', 'abc', Date.UTC(2026, 10, 23))]) {
      expect(WebhookBody.parse(JSON.parse(body))).toEqual(JSON.parse(body));
    }
  });

  test('of several events is a batch of them, as old as the last, with an id of its positions', () => {
    const events = [eventAt(5), { ...eventAt(9), atMs: Date.UTC(2026, 10, 24) }];
    const message = messageOf('whe_1', events);
    expect(message.id).toBe(batchIdOf('whe_1', [5, 9]));
    const body = webhookBodies.batch.parse(JSON.parse(message.body));
    expect(body.timestamp).toBe('2026-11-24T00:00:00.000Z');
    expect(body.data.events.map(({ position }) => position)).toEqual([5, 9]);
  });

  test('is the same however often it is made, and ids differ between endpoints and positions', () => {
    const events = [eventAt(5), eventAt(9)];
    expect(messageOf('whe_1', events)).toEqual(
      messageOf(
        'whe_1',
        events.map((event) => ({ ...event })),
      ),
    );
    const ids = [
      messageOf('whe_1', [eventAt(5)]),
      messageOf('whe_2', [eventAt(5)]),
      messageOf('whe_1', [eventAt(9)]),
      messageOf('whe_1', events),
      messageOf('whe_2', events),
      messageOf('whe_1', [eventAt(59)]),
      testMessage('whe_1', '5', 0),
    ].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  // This id stands in receivers' tables of what they have seen.
  test('of a batch keeps its id across releases', () => {
    expect(batchIdOf('whe_1', [5, 9, 12])).toBe('whe_1_bvr6Za9nfF_MK7fY40ip1VH');
  });

  test('without an event is a defect', () => {
    expect(() => messageOf('whe_1', [])).toThrow('a message has an event');
  });

  test('an end without a reason is a defect', () => {
    expect(() => messageOf('whe_1', [{ ...eventAt(5, 'user.offline'), reason: null }])).toThrow('an end has a reason');
  });
});

describe('a lane', () => {
  test('is the same for a user whatever happens, and one that exists', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme' }),
        fc.integer({ min: 1, max: 64 }),
        (id, of) => {
          const lane = laneOf(id as UserId, of);
          expect(lane).toBe(laneOf(id as UserId, of));
          expect(Number.isInteger(lane) && lane >= 0 && lane < of).toBe(true);
        },
      ),
    );
  });

  // Positions of lanes are kept in the database: a user that moved to another lane would be skipped or sent twice.
  test('does not move between releases', () => {
    const hashes = ['1', '42', 'alice@example.com', 'zoë', '👩‍🚀'].map((id) => laneHash(UserId.parse(id)));
    expect(hashes).toEqual([1_428_125_071, 686_566_589, 1_337_026_280, 3_896_719_138, 4_099_898_834]);
  });

  test.each([2, 3, 8, 64])('of %i has its share of users, whose ids are consecutive numbers', (of) => {
    const users = 64_000;
    const sizes = Array.from({ length: of }, () => 0);
    for (let id = 0; id < users; id += 1) {
      const lane = laneOf(String(id) as UserId, of);
      sizes[lane] = (sizes[lane] ?? 0) + 1;
    }
    // Six standard deviations of a fair draw.
    const slack = 6 * Math.sqrt(users / of);
    for (const size of sizes) expect(Math.abs(size - users / of)).toBeLessThan(slack);
  });
});
