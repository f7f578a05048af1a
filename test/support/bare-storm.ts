// A storm of users whose messages carry no epoch, and the one log that it must lead to, where neither grace nor windows are set: every
// birth begins a session, every will ends one, real or implied. Many messages of a user are equal, byte for byte.

import type { Announced, Log } from './history.ts';
import { type Chance, interleave, type WireMessage } from './storm.ts';

export type BareStorm = { readonly messages: readonly WireMessage[]; readonly expected: Log };

export function inventBareHistory(chance: Chance, users: number): BareStorm {
  const expected = new Map<string, readonly Announced[]>();
  const lives = Array.from({ length: users }, (_, index) => {
    const userId = `bare-${index}`;
    const life = chance.isIn(0.5) ? unborn(chance, userId) : born(chance, userId);
    expected.set(
      userId,
      life.flatMap(({ announces }) => announces).map((event, place) => ({ ...event, userId, sequence: place + 1 })),
    );
    return life.map(({ message }) => message);
  });
  return { messages: interleave(chance, lives), expected };
}

type Said = {
  readonly message: WireMessage;
  readonly announces: readonly Omit<Announced, 'userId' | 'sequence'>[];
};

/** Wills of somebody who is never heard to come. */
function unborn(chance: Chance, userId: string): Said[] {
  const [message, sessionId] = chance.pick<[WireMessage, string]>([
    [{ topic: '/logout', payload: userId }, 'default'],
    [{ topic: '/logout', payload: `{${userId}}` }, 'default'],
    [{ topic: '/logout', payload: `"${userId}"` }, 'default'],
    [{ topic: `/logout/${userId}`, payload: '' }, 'default'],
    [{ topic: `/logout/${userId}/phone`, payload: '' }, 'phone'],
    [{ topic: '/logout', payload: JSON.stringify({ userId, clientId: 'c1' }) }, 'c1'],
  ]);
  const announces = ends(sessionId, null, 'will');
  return Array.from({ length: 2 + chance.whole(5) }, () => ({ message, announces }));
}

/** Births and wills or goodbyes in turn; the epochs of a session that is told none are 1, 2, 3 … */
function born(chance: Chance, userId: string): Said[] {
  const sessionId = chance.pick(['default', 'phone']);
  const level = sessionId === 'default' ? '' : `/${sessionId}`;
  const reason = chance.pick(['will', 'logout'] as const);
  return Array.from({ length: 1 + chance.whole(4) }, (_, before): Said[] => {
    const epoch = before + 1;
    const types = ['session.started', 'user.online'] as const;
    return [
      {
        message: { topic: `/login/${userId}${level}`, payload: '' },
        announces: types.map((type) => ({ type, sessionId, epoch, reason: null })),
      },
      {
        message: { topic: `/logout/${userId}${level}`, payload: reason === 'will' ? '' : '{"reason":"logout"}' },
        announces: ends(sessionId, epoch, reason),
      },
    ];
  }).flat();
}

function ends(sessionId: string, epoch: number | null, reason: 'will' | 'logout'): Said['announces'] {
  return (['session.ended', 'user.offline'] as const).map((type) => ({ type, sessionId, epoch, reason }));
}
