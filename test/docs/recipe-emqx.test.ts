// The rules of docs/recipes/emqx, judged as EMQX judges by them: the first rule that fits decides, a user name is put into a topic as it
// is, and a filter that is subscribed to is compared word by word.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';

type Rule = {
  readonly permission: 'allow' | 'deny';
  readonly isWho: (user: string) => boolean;
  readonly action: 'publish' | 'subscribe' | 'all';
  readonly topics: readonly string[];
};

const text = readFileSync(new URL('../../docs/recipes/emqx/acl.conf', import.meta.url), 'utf8').replaceAll(
  /^%%.*$/gmu,
  '',
);
const rules = [...text.matchAll(/\{.*\}\.$/gmu)].map(([term]) => parseRule(term));

function parseRule(term: string): Rule {
  if (term === '{deny, all}.') return { permission: 'deny', isWho: () => true, action: 'all', topics: ['#'] };
  const shape = /^\{(allow|deny), \{username, (?:"(.+?)"|\{re, "(.+?)"\})\}, (publish|subscribe), \[(.*)\]\}\.$/u;
  const [, permission, name, pattern, action, topics = ''] = shape.exec(term) ?? [];
  if (permission === undefined) throw new Error(`a rule of another form: ${term}`);
  return {
    permission: permission as Rule['permission'],
    isWho: (user) => (pattern === undefined ? user === name : new RegExp(pattern, 'u').test(user)),
    action: action as Rule['action'],
    topics: [...topics.matchAll(/"(.+?)"/gu)].map(([, topic = '']) => topic),
  };
}

function isAllowed(user: string, action: 'publish' | 'subscribe', topic: string): boolean {
  const isMeant = ({ isWho, ...rule }: Rule) =>
    (rule.action === 'all' || rule.action === action) &&
    isWho(user) &&
    rule.topics.some((filter) => isMatch(topic.split('/'), filter.replaceAll('${username}', user).split('/')));
  return rules.find(isMeant)?.permission === 'allow';
}

function isMatch([word, ...words]: readonly string[], [part, ...parts]: readonly string[]): boolean {
  if (part === '#') return true;
  if (word === undefined || part === undefined) return word === part;
  return (part === '+' || part === word) && isMatch(words, parts);
}

test('every line of the file is a rule that is understood here, and the last one denies the rest', () => {
  expect(rules).toHaveLength(text.match(/^\{/gmu)?.length ?? 0);
  expect(rules.at(-1)).toMatchObject({ permission: 'deny', action: 'all' });
});

describe('by these rules', () => {
  test('Willow hears all of it, by the filters that it subscribes to', () => {
    for (const filter of ['/login/#', '/logout/#']) expect(isAllowed('willow', 'subscribe', filter)).toBe(true);
  });

  test.each(['alice', 'alice@example.com', '42', 'a.b_c-d'])('%s publishes below its own name', (user) => {
    for (const topic of [`/login/${user}`, `/logout/${user}`, `/logout/${user}/phone`]) {
      expect(isAllowed(user, 'publish', topic)).toBe(true);
    }
  });

  test.each(['mallory', '+', '#', '%62ob', 'bob/phone', '+/+', '', 'bob\u0000', '${username}'])(
    'nobody with the name "%s" publishes on the topics of another',
    (user) => {
      const topics = [
        '/logout',
        '/logout/bob',
        '/logout/bob/phone',
        '/logout/%62ob',
        '/login',
        '/login/bob',
        'logout/bob',
      ];
      for (const topic of topics) expect(isAllowed(user, 'publish', topic), topic).toBe(false);
    },
  );

  test.each(['mallory', '+', '#'])('%s hears nothing, by whatever filter', (user) => {
    for (const filter of [
      '/login/#',
      '/logout/#',
      '#',
      '+/#',
      '/+/#',
      '/+/+',
      '/logout/bob',
      '/logout/mallory',
      '$SYS/#',
    ]) {
      expect(isAllowed(user, 'subscribe', filter), filter).toBe(false);
    }
  });
});
