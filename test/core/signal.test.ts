import { describe, expect, test } from 'vitest';
import { parseMessage, type QuarantineReason } from '../../src/core/signal.ts';
import type { Ticket } from '../../src/core/ticket.ts';
import { nowMs, parse, verdictOn, wire } from './wire.ts';

describe('every form of topic with every form of payload', () => {
  const payloads = {
    empty: '',
    object: '{"userId":"42","sessionId":"phone"}',
    text: '"42"',
    literal: '{42}',
    bare: '42',
  };
  type Form = keyof typeof payloads;
  type Identity = 'no-user-id' | readonly ['42', string | null];
  const table: Record<'' | '/42' | '/42/phone' | '/42/tablet', Record<Form, Identity | 'identity-mismatch'>> = {
    '': { empty: 'no-user-id', object: ['42', 'phone'], text: ['42', null], literal: ['42', null], bare: ['42', null] },
    '/42': {
      empty: ['42', null],
      object: ['42', 'phone'],
      text: ['42', null],
      literal: ['42', null],
      bare: ['42', null],
    },
    '/42/phone': {
      empty: ['42', 'phone'],
      object: ['42', 'phone'],
      text: ['42', 'phone'],
      literal: ['42', 'phone'],
      bare: ['42', 'phone'],
    },
    '/42/tablet': {
      empty: ['42', 'tablet'],
      object: 'identity-mismatch',
      text: ['42', 'tablet'],
      literal: ['42', 'tablet'],
      bare: ['42', 'tablet'],
    },
  };

  for (const [levels, forms] of Object.entries(table)) {
    for (const [form, identity] of Object.entries(forms)) {
      const payload = payloads[form as Form];
      test(`a will on /logout${levels} with the payload ${payload || '(empty)'}`, () => {
        if (typeof identity === 'string') return expect(verdictOn(`/logout${levels}`, payload)).toBe(identity);
        const [userId, sessionId] = identity;
        expect(parse(`/logout${levels}`, payload)).toEqual({
          kind: 'will',
          userId,
          sessionId,
          epoch: null,
          clientId: null,
          device: null,
          isRedelivery: false,
          ticket: null,
        });
      });

      test(`a birth on /login${levels} with the payload ${payload || '(empty)'}`, () => {
        if (typeof identity === 'string') return expect(verdictOn(`/login${levels}`, payload)).toBe(identity);
        const [userId, sessionId] = identity;
        expect(parse(`/login${levels}`, payload)).toMatchObject({
          kind: 'login',
          userId,
          sessionId: sessionId ?? 'default',
          epoch: null,
          isRedelivery: false,
          ticket: null,
        });
      });
    }
  }

  test('an object says all that can be said', () => {
    const said = {
      userId: 'a',
      sessionId: 's',
      clientId: 'c',
      epoch: 7,
      reason: 'logout',
      device: { os: 'x', n: [1] },
    };
    expect(parse('/logout', said)).toEqual({
      kind: 'logout',
      userId: 'a',
      sessionId: 's',
      clientId: 'c',
      epoch: 7,
      device: { os: 'x', n: [1] },
      isRedelivery: false,
      ticket: null,
    });
  });
});

describe('topic and payload', () => {
  test.each([
    ['/logout/42', '{"userId":42}'],
    ['/logout/42', '{"userId":"42"}'],
    ['/logout/42/1', '{"userId":42,"sessionId":1}'],
    ['/logout/a%20b', '{"userId":"a b"}'],
    ['/logout/42/phone', '{"clientId":"another"}'],
    ['/logout/42', '{}'],
    ['/logout/42', '{"userId":null}'],
  ])('that agree are taken: %s %s', (topic, payload) => {
    expect(verdictOn(topic, payload)).toBe('will');
  });

  test.each([
    ['/logout/42', '43'],
    ['/logout/42', '{43}'],
    ['/logout/42', '"43"'],
    ['/logout/42', '{"userId":42.0}'],
    ['/logout/42', '{"userId":""}'],
    ['/logout/42', '{"userId":["42"]}'],
    ['/logout/Alice', 'alice'],
    ['/logout/42/phone', '{"sessionId":"tablet"}'],
    ['/login/42/phone', '{"sessionId":"tablet"}'],
    ['/login/42', '43'],
  ])('that disagree are quarantined: %s %s', (topic, payload) => {
    expect(verdictOn(topic, payload)).toBe('identity-mismatch');
  });

  test.each(['{}', '{"sessionId":"phone","epoch":1}', '{"userId":null}', '{"user_id":"42"}'])(
    'that name no user are quarantined: %s',
    (payload) => {
      expect(verdictOn('/logout', payload)).toBe('no-user-id');
    },
  );
});

describe('the session of a signal', () => {
  const sessionOf = (topic: string, payload: object) => {
    const parsed = parse(topic, payload);
    return parsed.kind === 'refused' ? parsed.reason : parsed.sessionId;
  };

  test.each(['/login', '/logout'])('is the one it names, whatever the client id: %s', (topic) => {
    expect(sessionOf(topic, { userId: 'a', sessionId: 's', clientId: 'c' })).toBe('s');
    expect(sessionOf(`${topic}/a/s`, { clientId: 'c' })).toBe('s');
  });

  test.each(['/login', '/logout'])('is its client id when it names none: %s', (topic) => {
    expect(sessionOf(topic, { userId: 'a', clientId: 'c' })).toBe('c');
    expect(sessionOf(topic, { userId: 'a', sessionId: null, clientId: 'c', epoch: 1 })).toBe('c');
  });

  test('is the default one for a login that names neither', () => {
    expect(sessionOf('/login', { userId: 'a' })).toBe('default');
    expect(sessionOf('/login', { userId: 'a', epoch: 1 })).toBe('default');
  });

  test('is the default one for a logout with an epoch that names neither', () => {
    expect(sessionOf('/logout', { userId: 'a', epoch: 1 })).toBe('default');
    expect(sessionOf('/logout', { userId: 'a', epoch: 0, reason: 'logout' })).toBe('default');
  });

  test('is every live one for a logout without an epoch that names neither', () => {
    expect(sessionOf('/logout', { userId: 'a' })).toBeNull();
    expect(sessionOf('/logout', { userId: 'a', reason: 'logout', device: { os: 'x' } })).toBeNull();
    expect(sessionOf('/logout', { userId: 'a', epoch: null, sessionId: null, clientId: null })).toBeNull();
  });
});

describe('the reason of a logout', () => {
  test.each([
    [{}, 'will'],
    [{ reason: null }, 'will'],
    [{ reason: 'will' }, 'will'],
    [{ reason: 'logout' }, 'logout'],
    [{ reason: '' }, 'bad-reason'],
    [{ reason: 'Logout' }, 'bad-reason'],
    [{ reason: 'kicked' }, 'bad-reason'],
    [{ reason: 1 }, 'bad-reason'],
    [{ reason: ['logout'] }, 'bad-reason'],
  ])('%j', (fields, verdict) => {
    expect(verdictOn('/logout', { userId: 'a', ...fields })).toBe(verdict);
  });

  test('means nothing on a birth', () => {
    expect(verdictOn('/login', { userId: 'a', reason: 'logout' })).toBe('login');
    expect(verdictOn('/login', { userId: 'a', reason: 1 })).toBe('login');
  });
});

describe('what is left out or unknown', () => {
  test('optional fields may be null', () => {
    const nulls = { sessionId: null, clientId: null, epoch: null, reason: null, device: null };
    expect(parse('/logout', { userId: 'a', ...nulls })).toEqual(parse('/logout', { userId: 'a' }));
    expect(parse('/login', { userId: 'a', ...nulls })).toEqual(parse('/login', { userId: 'a' }));
  });

  test('unknown fields are ignored, whatever they hold', () => {
    const unknown = { at: 'x', kind: 'kick', isRedelivery: true, note: '\u0000', half: '\ud800', deep: { a: [{}] } };
    expect(parse('/logout', { userId: 'a', ...unknown })).toEqual(parse('/logout', { userId: 'a' }));
  });

  test('the pointers of the settings decide where user, session and epoch are', () => {
    const pointers = { userId: ['user', 'id'], sessionId: ['dev'], epoch: ['meta', 'at'] };
    const payload =
      '{"user":{"id":9007199254740993},"dev":"phone","meta":{"at":5},"userId":"x","sessionId":"y","epoch":-1}';
    const parsed = parseMessage('/login', new TextEncoder().encode(payload), { ...wire, pointers }, nowMs);
    expect(parsed).toMatchObject({ kind: 'login', userId: '9007199254740993', sessionId: 'phone', epoch: 5 });
  });
});

/** `unstorable` is the answer of the database, not of the parser. */
const examples: Record<Exclude<QuarantineReason, 'unstorable'>, readonly [topic: string, payload: string]> = {
  'unknown-topic': ['/else', '42'],
  'bad-topic': ['/logout/%', ''],
  'payload-too-large': ['/logout', 'x'.repeat(4097)],
  'not-utf8': ['/logout', '\xff'],
  'not-json': ['/logout', '{"userId":"42"'],
  'bad-shape': ['/logout', '[]'],
  'no-user-id': ['/logout', ''],
  'bad-user-id': ['/logout', '{"userId":true}'],
  'bad-session-id': ['/logout', '{"userId":"a","sessionId":""}'],
  'bad-client-id': ['/logout', '{"userId":"a","clientId":""}'],
  'bad-epoch': ['/logout', '{"userId":"a","epoch":-1}'],
  'epoch-ahead': ['/logout', `{"userId":"a","epoch":${nowMs * 2}}`],
  'bad-reason': ['/logout', '{"userId":"a","reason":"kicked"}'],
  'bad-device': ['/logout', '{"userId":"a","device":"x"}'],
  'identity-mismatch': ['/logout/42', '43'],
  'no-ticket': ['/logout', '42'],
  'bad-ticket': ['/logout', '{"userId":"a","ticket":"forged"}'],
  'expired-ticket': ['/login', '{"userId":"a","ticket":"expired"}'],
  'wrong-user': ['/logout', '{"userId":"b","ticket":"expired"}'],
};
const expired: Ticket = {
  userId: 'a',
  sessionId: 's',
  issuedAtSeconds: 0,
  expiresAtSeconds: nowMs / 1_000,
  leaseMs: null,
  keyId: 'k',
  isRetired: false,
};

test.each(Object.entries(examples))('what is quarantined as %s', (reason, [topic, payload]) => {
  const bytes = Uint8Array.from(payload, (character) => character.charCodeAt(0));
  const tickets = {
    isRequired: reason === 'no-ticket',
    verify: (token: string) => (token === 'expired' ? expired : null),
  };
  expect(parseMessage(topic, bytes, { ...wire, tickets }, nowMs)).toMatchObject({ kind: 'refused', reason });
});

test('a device is what it says, also where it says what a refusal says', () => {
  for (const device of [{ kind: 'refused' }, { kind: 'refused', reason: 'made-up', detail: 'anything' }]) {
    expect(parse('/login', { userId: 'a', device })).toMatchObject({ kind: 'login', device });
  }
});
