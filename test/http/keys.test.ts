// Who is let in, and who is told what: stored keys beside the one of the setting, over a real socket.

import { describe, expect, test } from 'vitest';
import { mintKey } from '../../src/http/api-key.ts';
import { scopes } from '../../src/http/instance.ts';
import type { Route } from '../support/route-table.ts';
import { bodyOf, json, pathOf } from './calls.ts';
import { keys, knowing, minted } from './keys.ts';
import { type Answer, type Call, DatabaseAway, expectProblem, type Served, serve } from './serve.ts';

const setting = 'willow-key-0123456789abcdef';
const presence = '/users/ada/presence';

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

function callWith(served: Served, route: Route, headers: Call['headers']): Promise<Answer> {
  return served.call({ method: route.method, path: pathOf(route), ...bodyOf(route), headers: { ...json, ...headers } });
}

const guarded = (served: Served) => served.routes.filter(({ scope }) => scope !== 'open');

test('whatever shows a secret is kept by nobody, and nothing else says so', async () => {
  await using served = await serve();
  const shown: string[] = [];
  for (const route of served.routes) {
    if (route.url.endsWith('stream')) continue;
    const { status, headers } = await callWith(served, route, {});
    if (headers['cache-control'] === 'no-store') shown.push(`${route.method} ${route.url} ${status}`);
  }
  expect(shown.toSorted()).toEqual([
    'POST /keys 201',
    'POST /users/:id/sessions 201',
    'POST /webhooks 201',
    'POST /webhooks/:id/rotate 200',
  ]);
});

describe('a stored key', () => {
  test.each(scopes)('with the scope %s opens the routes of that scope, and no others', async (scope) => {
    const key = minted([scope]);
    await using served = await serve({ apiKey: setting, keys: knowing(key) });
    for (const route of guarded(served)) {
      const answer = await callWith(served, route, bearer(key.key));
      const what = `${route.method} ${route.url}`;
      if (route.scope === scope) expect(answer.status, what).toBeLessThan(300);
      else if (route.method === 'HEAD') expect(answer.status, what).toBe(403);
      else {
        expect(expectProblem(answer, 403, 'missing-scope')).toMatchObject({ scope: route.scope });
        expect(answer.headers['www-authenticate']).toBe(
          `Bearer realm="willow", error="insufficient_scope", scope="${route.scope}"`,
        );
      }
    }
    expect(served.logText()).not.toContain(key.key.slice(24));
  });

  test('says who calls, and so does every other way in', async () => {
    const key = minted();
    const callers: unknown[] = [];
    const kick = async (_user: string, _session: string | null, caller: unknown) => {
      callers.push(caller);
      return 'done' as const;
    };
    const as = async (apiKey: string | null, headers: Record<string, string>) => {
      await using served = await serve({ apiKey, keys: knowing(key), kick });
      const call = { method: 'DELETE', path: '/users/ada/sessions', headers };
      expect((await served.call(call)).status).toBe(204);
    };
    await as(setting, bearer(key.key));
    await as(setting, bearer(setting));
    await as(null, {});
    await as(null, bearer(key.key));
    const byKey = { kind: 'key', id: key.id, name: 'billing' };
    expect(callers).toEqual([byKey, { kind: 'api-key-setting' }, { kind: 'loopback' }, byKey]);
  });

  test('that has expired is refused in the ms in which it does, and told so; with a wrong secret it is told nothing', async () => {
    const untilMs = Date.now() + 60_000;
    const [good, over] = [minted(scopes, untilMs), minted(scopes, Date.now())];
    await using served = await serve({ apiKey: setting, keys: knowing(good, over) });
    expect((await served.call({ path: presence, headers: bearer(good.key) })).status).toBe(200);
    const expired = await served.call({ path: presence, headers: bearer(over.key) });
    expect(expectProblem(expired, 401, 'unauthorized').detail).toBe('the API key has expired');
    expect(expired.headers['www-authenticate']).toBe('Bearer realm="willow", error="invalid_token"');
    const wrong = await served.call({ path: presence, headers: bearer(withOtherSecret(over.key)) });
    expect(expectProblem(wrong, 401, 'unauthorized').detail).toBe('the API key is not valid');
  });

  test('is noted when its owner shows it, and not when somebody else tries', async () => {
    const [key, expired] = [minted(['presence:read']), minted(scopes, Date.now())];
    const used: string[] = [];
    const port = { ...knowing(key, expired), noteUse: (id: string) => void used.push(id) };
    await using served = await serve({ apiKey: setting, keys: port });
    for (const wrong of [withOtherSecret(key.key), mintKey().key, setting]) {
      await served.call({ path: presence, headers: bearer(wrong) });
    }
    expect(used).toEqual([]);
    await served.call({ path: presence, headers: bearer(key.key) });
    await served.call({ path: '/metrics', headers: bearer(key.key) });
    await served.call({ path: presence, headers: bearer(expired.key) });
    expect(used).toEqual([key.id, key.id, expired.id]);
  });
});

/** The same key but for the last character. */
function withOtherSecret(key: string): string {
  return `${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`;
}

test('whatever is wrong with a key, the answer to somebody who has none of ours is one and the same', async () => {
  const key = minted();
  await using served = await serve({ apiKey: setting, keys: knowing(key) });
  const wrong = {
    'a wrong secret': withOtherSecret(key.key),
    'an unknown id': mintKey().key,
    'the id in other letters': key.key.toUpperCase(),
    'the secret of another': `${key.key.slice(0, 24)}${mintKey().key.slice(24)}`,
    'one character less': key.key.slice(0, -1),
    'one character more': `${key.key}0`,
    'two keys': `${key.key}, ${key.key}`,
    'the id alone': key.id,
    'a wrong setting': `${setting}x`,
    'bytes that are no text': '\u00ff\u00fe',
  };
  for (const route of guarded(served).filter(({ method }) => method !== 'HEAD')) {
    const shapes = new Set<string>();
    for (const [what, token] of Object.entries(wrong)) {
      const answer = await callWith(served, route, bearer(token));
      expectProblem(answer, 401, 'unauthorized');
      expect(answer.body, what).not.toContain(token.slice(-8));
      const { date: _date, ...headers } = answer.headers;
      shapes.add(JSON.stringify([answer.body, headers]));
    }
    expect(shapes.size, `${route.method} ${route.url}`).toBe(1);
  }
  expect(served.logText()).not.toContain(key.key.slice(24));
});

describe('without API_KEY', () => {
  test('no key is needed, but one that is sent is checked', async () => {
    const key = minted(['presence:read']);
    await using served = await serve({ keys: knowing(key) });
    const ask = (path: string, headers = {}) => served.call({ path, headers });
    expect((await ask(presence)).status).toBe(200);
    expect((await ask(presence, bearer(key.key))).status).toBe(200);
    expectProblem(await ask('/metrics', bearer(key.key)), 403, 'missing-scope');
    for (const token of [mintKey().key, withOtherSecret(key.key), 'x', '']) {
      expectProblem(await ask(presence, bearer(token)), 401, 'unauthorized');
    }
    expectProblem(await ask(presence, { authorization: 'bearer' }), 401, 'unauthorized');
    // What a proxy or a person has for somebody else is none of ours.
    expect((await ask(presence, { authorization: 'Basic d2lsbG93' })).status).toBe(200);
  });
});

describe('while the database is away', () => {
  const away = {
    ...keys,
    findKey: async () => {
      throw new DatabaseAway();
    },
  };

  test('a key that nobody can look up is 503, and nothing that hides it is 401 or 200', async () => {
    await using served = await serve({ apiKey: setting, keys: away });
    for (const route of guarded(served).filter(({ method }) => method !== 'HEAD')) {
      const answer = await callWith(served, route, bearer(mintKey().key));
      expectProblem(answer, 503, 'database-unavailable');
      expect(answer.headers['retry-after']).toBe('5');
    }
  });

  test('the key of the setting opens everything, and what is no key of ours is refused without asking', async () => {
    await using served = await serve({ apiKey: setting, keys: away });
    expect((await served.call({ path: '/metrics', headers: bearer(setting) })).status).toBe(200);
    expectProblem(await served.call({ path: '/metrics', headers: bearer('x') }), 401, 'unauthorized');
    expectProblem(await served.call({ path: '/metrics' }), 401, 'unauthorized');
  });
});
