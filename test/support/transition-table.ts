// What every signal does to a session in every state: the truth that the tests hold `decide` to, and that SPEC.md prints.
// `Record` without `Partial`: a state, a signal or a comparison that is forgotten does not compile.

import type { Outcome } from '../../src/core/decide.ts';
import type { EventType, Session } from '../../src/core/session.ts';
import type { Signal } from '../../src/core/signal.ts';

/**
 * `taken over`: online, and the will of its old connection may be owed. `prepared`: live by the word of a backend, its client never heard;
 * `prepared again`: not heard since an end. `just ended`: within the repeat window.
 */
export type State =
  | 'absent'
  | 'online'
  | 'taken over'
  | 'prepared'
  | 'prepared again'
  | 'lost'
  | 'just ended'
  | 'ended'
  | 'kicked';

/** How the epoch of a signal compares with that of the session, or with that of its last end, or with the one that a kick made forget. */
export type Comparison = 'none' | 'older' | 'equal' | 'newer';
/** Nothing is known of a session that was never heard: every epoch is newer. */
type ComparisonWith<S extends State> = S extends 'absent' | 'prepared' ? 'none' | 'newer' : Comparison;
type Heard = 'login' | 'will' | 'logout';
/** A lapse finds the deadline of the session in the future, or over. */
export type Due = 'early' | 'due';

/** What became of the session: its status, at which of the epochs (`first`: 1, `nothing`: none is known), and what was announced. */
export type Cell = {
  readonly outcome: Outcome;
  readonly status: Session['status'] | 'absent';
  readonly at: 'nothing' | 'first' | 'older' | 'equal' | 'newer';
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

const startsUnheard = becomes('online', 'nothing', starts);
const endsUnheard = becomes('ended', 'nothing', ends);

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
  prepare: { none: startsUnheard },
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

const unheard = {
  prepare: { none: repeats('online', 'nothing') },
  kick: { none: endsUnheard },
  lapse: { early: becomes('online', 'nothing'), due: endsUnheard },
};
const beforeFirstWord = {
  older: isStale('online', 'nothing'),
  equal: isStale('online', 'nothing'),
  newer: becomes('lost', 'newer'),
};

/** Grace is on, a lease runs, and no other session of the user is live. */
export const transitions: Table = {
  absent: {
    login: { none: becomes('online', 'first', starts), newer: startsNewer },
    will: fromNothing,
    logout: fromNothing,
    prepare: { none: startsUnheard },
    kick: { none: becomes('absent', 'nothing') },
    lapse: stays('absent', 'nothing'),
  },
  online: fromOnline,
  'taken over': { ...fromOnline, will: { ...fromOnline.will, none: isStale('online') } },
  prepared: {
    ...unheard,
    login: { none: becomes('online', 'first'), newer: movesOn },
    will: { none: becomes('lost', 'nothing'), newer: becomes('lost', 'newer') },
    logout: { none: endsUnheard, newer: endsNewer },
  },
  'prepared again': {
    ...unheard,
    login: { none: movesOn, older: isStale('online', 'nothing'), equal: repeats('online', 'nothing'), newer: movesOn },
    will: { none: becomes('lost', 'nothing'), ...beforeFirstWord },
    logout: { none: endsUnheard, ...beforeFirstWord, newer: endsNewer },
  },
  lost: {
    login: { none: movesOn, older: isStale('lost'), equal: repeats('lost', 'equal'), newer: movesOn },
    will: {
      none: repeats('lost', 'equal'),
      older: isStale('lost'),
      equal: repeats('lost', 'equal'),
      newer: becomes('lost', 'newer'),
    },
    logout: { none: endsEqual, older: isStale('lost'), equal: endsEqual, newer: endsNewer },
    prepare: { none: becomes('online', 'nothing') },
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
    prepare: { none: startsUnheard },
    kick: { none: becomes('ended', 'nothing') },
    lapse: stays('ended', 'nothing'),
  },
};
