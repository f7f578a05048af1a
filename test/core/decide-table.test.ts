import { describe, expect, test } from 'vitest';
import type { EndReason, Event } from '../../src/core/session.ts';
import type { Signal } from '../../src/core/signal.ts';
import { type Cell, type Comparison, type Due, type State, transitions } from '../support/transition-table.ts';
import { kick, lapse, login, logout, prepare, Story, will } from './story.ts';

const leaseMs = 60_000;
const graceMs = 5_000;
const epochs = { nothing: null, first: 1, none: null, older: 99, equal: 100, newer: 101 } as const;
const reasons: Record<Exclude<Signal['kind'], 'login' | 'prepare' | 'lapse'>, EndReason> = {
  will: 'will',
  logout: 'logout',
  kick: 'kicked',
};

/** A session in the state, at epoch 100, by signals alone. */
const enter: Record<State, (story: Story) => void> = {
  absent: () => undefined,
  online: (story) => story.tell(login(100)),
  'taken over': (story) => story.tell(login(99), login(100)),
  prepared: (story) => story.tell(prepare()),
  'prepared again': (story) => story.tell(login(100), logout(100), prepare()),
  lost: (story) => story.tell(login(100), will(100)),
  'just ended': (story) => story.tell(login(100), logout(100)),
  ended: (story) => story.tell(login(100), logout(100)),
  kicked: (story) => story.tell(login(100), kick()),
};
const waitMs: Record<State, number> = {
  absent: 0,
  online: 2_000,
  'taken over': 500,
  prepared: 2_000,
  'prepared again': 2_000,
  lost: 2_000,
  'just ended': 2_000,
  ended: 20_000,
  kicked: 20_000,
};

/** That of the connection which ends, when a kick or a deadline ends it. */
const connection = (state: State) => (state.startsWith('prepared') ? null : 100);

const signals: Record<'login' | 'will' | 'logout', (epoch: number | null) => Signal> = { login, will, logout };

function storyIn(state: State, ms = graceMs): Story {
  const story = new Story({ leaseMs, graceMs: ms });
  enter[state](story);
  story.pass(waitMs[state]);
  return story;
}

function expectCell(story: Story, signal: Signal, cell: Cell): readonly Event[] {
  const { outcome, events } = story.hear(signal);
  expect(outcome).toBe(cell.outcome);
  expect(story.state()).toBe(cell.status === 'absent' ? 'absent' : `${cell.status}@${epochs[cell.at]}`);
  expect(events.map(({ type }) => type)).toEqual(cell.events);
  return events;
}

describe('every signal in every state, by how the epochs compare', () => {
  for (const [state, row] of Object.entries(transitions) as [State, (typeof transitions)[State]][]) {
    for (const kind of ['login', 'will', 'logout'] as const) {
      for (const [comparison, cell] of Object.entries(row[kind]) as [Comparison, Cell][]) {
        test(`${state}: ${kind}, epoch ${comparison}: ${cell.outcome}, ${cell.status} at ${cell.at}`, () => {
          const story = storyIn(state);
          const epoch = epochs[comparison];
          const events = expectCell(story, signals[kind](epoch), cell);
          const isImplied = epoch === null && !['online', 'taken over', 'lost'].includes(state);
          for (const { type, epoch: told, reason } of events) {
            const isEnd = type === 'session.ended' || type === 'user.offline';
            expect(reason).toBe(kind === 'login' || !isEnd ? null : reasons[kind]);
            expect(told).toBe(isEnd && isImplied ? null : epochs[cell.at]);
          }
        });
      }
    }

    test(`${state}: kick: ${row.kick.none.status}, with the epoch of the connection that it ends`, () => {
      const story = storyIn(state);
      for (const event of expectCell(story, kick(), row.kick.none)) {
        expect(event).toMatchObject({ reason: 'kicked', epoch: connection(state) });
      }
    });

    test(`${state}: prepare: ${row.prepare.none.outcome}, ${row.prepare.none.status} at ${row.prepare.none.at}`, () => {
      const { none } = row.prepare;
      for (const event of expectCell(storyIn(state), prepare(), none)) {
        expect(event).toMatchObject({ reason: null, epoch: epochs[none.at] });
      }
    });

    for (const [due, cell] of Object.entries(row.lapse) as [Due, Cell][]) {
      test(`${state}: lapse, ${due}: ${cell.status} at ${cell.at}`, () => {
        const story = storyIn(state);
        if (due === 'due') story.pass((state === 'lost' ? graceMs : leaseMs) + 1 - waitMs[state]);
        for (const event of expectCell(story, lapse, cell)) {
          expect(event).toMatchObject({ reason: state === 'lost' ? 'will' : 'expired', epoch: connection(state) });
        }
      });
    }
  }
});

describe('without grace every session that a will would make lost ends in the same decision', () => {
  for (const state of ['online', 'taken over'] as const) {
    for (const [comparison, cell] of Object.entries(transitions[state].will) as [Comparison, Cell][]) {
      if (cell.status !== 'lost') continue;
      test(`${state}: will, epoch ${comparison}`, () => {
        const ended: Cell = { ...cell, status: 'ended', events: ['session.ended', 'user.offline'] };
        expectCell(storyIn(state, 0), will(epochs[comparison]), ended);
      });
    }
  }
});
