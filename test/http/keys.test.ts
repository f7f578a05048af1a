// Who is let in, and who is told what: stored keys beside the one of the setting, over a real socket.

import { describe, expect, test } from 'vitest';
import { scopes } from '../../src/http/instance.ts';
import { bodyOf, json, pathOf } from './calls.ts';
import { knowing, minted } from './keys.ts';
import { type Answer, type Call, expectProblem, type Route, type Served, serve } from './serve.ts';

const setting = 'willow-key-0123456789abcdef';

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

function callWith(served: Served, route: Route, headers: Call['headers']): Promise<Answer> {
  return served.call({ method: route.method, path: pathOf(route), ...bodyOf(route), headers: { ...json, ...headers } });
}

const guarded = (served: Served) => served.routes.filter(({ scope }) => scope !== 'open');

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
});
