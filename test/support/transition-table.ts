// What every signal does to a session in every state: the truth that the tests hold `decide` to, and that SPEC.md prints.
// `Record` without `Partial`: a state, a signal or a comparison that is forgotten does not compile.

import type { Outcome } from '../../src/core/decide.ts';
import type { EventType, Session } from '../../src/core/session.ts';
import type { Signal } from '../../src/core/signal.ts';

/** `taken over`: online, and the will of its old connection may be owed. `just ended`: within the repeat window. */
export type State = 'absent' | 'online' | 'taken over' | 'lost' | 'just ended' | 'ended' | 'kicked';

/** How the epoch of a signal compares with that of the session, or, after a kick, with the one it made forget. */
export type Comparison = 'none' | 'older' | 'equal' | 'newer';
/** Nothing is known of an absent session: every epoch is newer. */
type ComparisonWith<S extends State> = S extends 'absent' ? 'none' | 'newer' : Comparison;
type Heard = 'login' | 'will' | 'logout';
/** A lapse finds the deadline of the session in the future, or over. */
export type Due = 'early' | 'due';

/** What became of the session: its status, at which of the epochs (`zero`: 0, `first`: 1, `nothing`: none is known), and what was announced. */
export type Cell = {
  readonly outcome: Outcome;
  readonly status: Session['status'] | 'absent';
  readonly at: 'nothing' | 'zero' | 'first' | 'older' | 'equal' | 'newer';
  readonly events: readonly EventType[];
};

type Table = {
  readonly [S in State]: {
    readonly [K in Signal['kind']]: K extends Heard
      ? Readonly<Record<ComparisonWith<S>, Cell>>
      : K extends 'lapse'
        ? Readonly<Record<Due, Cell>>
        : Readonly<Record<'none', Cell>>;
  };
};

const starts = ['session.started', 'user.online'] as const;
const ends = ['session.ended', 'user.offline'] as const;

function becomes(status: Cell['status'], at: Cell['at'], events: readonly EventType[] = []): Cell {
  return { outcome: 'applied', status, at, events };
}
function repeats(status: Cell['status'], at: Cell['at']): Cell {
  return { outcome: 'repeat', status, at, events: [] };
}
function isStale(status: Cell['status'], at: Cell['at'] = 'equal'): Cell {
  return { outcome: 'stale', status, at, events: [] };
}
function stays(status: Cell['status'], at: Cell['at']) {
  return { early: becomes(status, at), due: becomes(status, at) };
}

const startsNewer = becomes('online', 'newer', starts);
const endsNewer = becomes('ended', 'newer', ends);
const endsEqual = becomes('ended', 'equal', ends);
const repeatsEnd = repeats('ended', 'equal');
const movesOn = becomes('online', 'newer');

const fromNothing = { none: becomes('ended', 'nothing', ends), newer: endsNewer };
const fromOnline = {
  login: { none: movesOn, older: isStale('online'), equal: repeats('online', 'equal'), newer: movesOn },
  will: {
    none: becomes('lost', 'equal'),
    older: isStale('online'),
    equal: becomes('lost', 'equal'),
    newer: becomes('lost', 'newer'),
  },
  logout: { none: endsEqual, older: isStale('online'), equal: endsEqual, newer: endsNewer },
  prepare: { none: repeats('online', 'equal') },
  kick: { none: becomes('ended', 'nothing', ends) },
  lapse: { early: becomes('online', 'equal'), due: endsEqual },
};
const fromEnded = {
  login: { none: startsNewer, older: isStale('ended'), equal: repeatsEnd, newer: startsNewer },
  prepare: { none: startsNewer },
  kick: { none: becomes('ended', 'nothing') },
  lapse: stays('ended', 'equal'),
};
const afterEnd = { older: repeatsEnd, equal: repeatsEnd, newer: endsNewer };
const afterKick = {
  none: repeats('ended', 'nothing'),
  older: repeats('ended', 'nothing'),
  equal: repeats('ended', 'nothing'),
  newer: endsNewer,
};

/** Grace is on, a lease runs, and no other session of the user is live. */
export const transitions: Table = {
  absent: {
    login: { none: becomes('online', 'first', starts), newer: startsNewer },
    will: fromNothing,
    logout: fromNothing,
    prepare: { none: becomes('online', 'zero', starts) },
    kick: { none: becomes('absent', 'nothing') },
    lapse: stays('absent', 'nothing'),
  },
  online: fromOnline,
  'taken over': { ...fromOnline, will: { ...fromOnline.will, none: isStale('online') } },
  lost: {
    login: { none: movesOn, older: isStale('lost'), equal: repeats('lost', 'equal'), newer: movesOn },
    will: {
      none: repeats('lost', 'equal'),
      older: isStale('lost'),
      equal: repeats('lost', 'equal'),
      newer: becomes('lost', 'newer'),
    },
    logout: { none: endsEqual, older: isStale('lost'), equal: endsEqual, newer: endsNewer },
    prepare: { none: movesOn },
    kick: { none: becomes('ended', 'nothing', ends) },
    lapse: { early: becomes('lost', 'equal'), due: endsEqual },
  },
  'just ended': {
    ...fromEnded,
    will: { none: repeatsEnd, ...afterEnd },
    logout: { none: repeatsEnd, ...afterEnd },
  },
  ended: {
    ...fromEnded,
    will: { none: endsEqual, ...afterEnd },
    logout: { none: endsEqual, ...afterEnd },
  },
  kicked: {
    login: {
      none: startsNewer,
      older: becomes('online', 'older', starts),
      equal: repeats('ended', 'nothing'),
      newer: startsNewer,
    },
    will: afterKick,
    logout: afterKick,
    prepare: { none: startsNewer },
    kick: { none: becomes('ended', 'nothing') },
    lapse: stays('ended', 'nothing'),
  },
};
