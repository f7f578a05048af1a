// A call of each route that is complete, so that nothing about it is wrong but what a test makes wrong.

import type { Route } from '../support/route-table.ts';
import type { Call } from './serve.ts';

export const json = { 'content-type': 'application/json' };

export const pathOf = ({ url }: Pick<Route, 'url'>): string =>
  url
    .replace('/quarantine/:id', '/quarantine/12')
    .replace(':id', 'ada')
    .replace(':sessionId', 'phone')
    .replace(':parkedId', '3');

const bodies: Readonly<Record<string, object>> = {
  'POST /presence/query': { userIds: ['ada'] },
  'POST /webhooks': { url: 'https://example.com/hook' },
  'PATCH /webhooks/:id': {},
  'POST /webhooks/:id/replay': { after: 0 },
  'POST /keys': { name: 'billing', scopes: ['presence:read'] },
};

export function bodyOf({ method, url }: Pick<Route, 'method' | 'url'>): Pick<Call, 'body'> {
  const body = bodies[`${method} ${url}`];
  return body === undefined ? {} : { body: JSON.stringify(body) };
}
