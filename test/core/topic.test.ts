import { describe, expect, test } from 'vitest';
import { parseTopic } from '../../src/core/topic.ts';

const topics = { login: '/login', logout: '/logout' };
const parse = (topic: string) => parseTopic(topic, topics);

describe('topics', () => {
  test.each([
    ['/login', { kind: 'login', userId: null, sessionId: null }],
    ['/logout', { kind: 'logout', userId: null, sessionId: null }],
    ['/login/42', { kind: 'login', userId: '42', sessionId: null }],
    ['/logout/42', { kind: 'logout', userId: '42', sessionId: null }],
    ['/login/42/phone', { kind: 'login', userId: '42', sessionId: 'phone' }],
    ['/logout/42/phone', { kind: 'logout', userId: '42', sessionId: 'phone' }],
  ])('%s is a topic of the wire contract', (topic, expected) => {
    expect(parse(topic)).toEqual(expected);
  });

  test.each([
    ['/logout/a%2Fb', 'a/b', null],
    ['/logout/alice%40example.com/my%20phone', 'alice@example.com', 'my phone'],
    ['/logout/%F0%9F%A6%89', '🦉', null],
    ['/logout/%e2%82%ac', '€', null],
    ['/logout/a+b', 'a+b', null],
    ['/logout/100%25', '100%', null],
    ['/logout/%2525', '%25', null],
    ['/logout/Zoë', 'Zoë', null],
  ])('the levels of %s are percent-decoded, once', (topic, userId, sessionId) => {
    expect(parse(topic)).toEqual({ kind: 'logout', userId, sessionId });
  });

  test.each(['/logout/%', '/logout/%4', '/logout/%zz', '/logout/%ff', '/logout/%ED%A0%80', '/logout/42/%C3'])(
    'a level that is not percent-encoded UTF-8 is refused: %s',
    (topic) => {
      expect(parse(topic)).toMatchObject({ kind: 'refused', reason: 'bad-topic' });
    },
  );

  test.each([
    '',
    '/',
    'logout',
    '/logoutx',
    '/logout2/42',
    '//logout',
    '/Logout',
    '/x/logout',
    '/logout/1/2/3',
    '/login////',
  ])('a topic that no filter asked for is refused: %s', (topic) => {
    expect(parse(topic)).toMatchObject({ kind: 'refused', reason: 'unknown-topic' });
  });

  test('an empty level is an empty id, not an absent one', () => {
    expect(parse('/logout/')).toEqual({ kind: 'logout', userId: '', sessionId: null });
    expect(parse('/logout/42/')).toEqual({ kind: 'logout', userId: '42', sessionId: '' });
    expect(parse('/logout//')).toEqual({ kind: 'logout', userId: '', sessionId: '' });
  });

  test('settings may rename the roots, with several levels and without a leading slash', () => {
    const renamed = { login: 'fleet/v1/birth', logout: 'fleet/v1/death' };
    expect(parseTopic('fleet/v1/death/42/phone', renamed)).toEqual({
      kind: 'logout',
      userId: '42',
      sessionId: 'phone',
    });
    expect(parseTopic('fleet/v1/birth', renamed)).toEqual({ kind: 'login', userId: null, sessionId: null });
    expect(parseTopic('/logout/42', renamed)).toMatchObject({ reason: 'unknown-topic' });
  });
});
