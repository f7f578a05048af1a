// A webhook, an attempt and a parked event, and ports that know nothing else.

import type { Attempt, ParkedEvent } from '../../src/http/routes/attempts.ts';
import type { Webhook } from '../../src/http/routes/webhooks.ts';
import type { HttpDeps } from '../../src/http/server.ts';
import { registrationProblem } from '../../src/webhooks/target-guard.ts';
import { atMs, online, userId } from './ada.ts';

export const hook: Webhook = {
  id: 'whe_1',
  url: 'https://example.com/hook',
  description: 'billing',
  events: ['user.offline'],
  lanes: 8,
  maxBatch: 1,
  disabledReason: null,
  failingSinceMs: null,
  lastSuccessAtMs: atMs,
  previousSecretUntilMs: null,
  createdAtMs: atMs - 1_000,
  updatedAtMs: atMs - 500,
  position: 118,
  head: 120,
};

export const attempt: Attempt = {
  id: 7,
  webhookId: 'whe_1_118',
  first: 118,
  last: 118,
  count: 1,
  atMs,
  durationMs: 12,
  outcome: 'refused',
  status: 422,
  detail: null,
  body: 'no such user',
};

export const parked: ParkedEvent = {
  id: 3,
  event: {
    position: 118,
    sequence: 8,
    type: 'user.offline',
    userId,
    sessionId: online.sessionId,
    epoch: null,
    reason: 'will',
    device: null,
    atMs,
  },
  reason: 'refused',
  parkedAtMs: atMs,
  attempts: 3,
  status: 422,
  detail: null,
  retryAtMs: null,
};

export const hooks: HttpDeps['webhooks'] = {
  targetProblem: (url) => registrationProblem(url, { allowHttp: false, allowNetworks: [] }),
  create: async () => ({ kind: 'done', webhook: hook, secret: 'whsec_c2VjcmV0' }),
  list: async () => [],
  get: async () => hook,
  change: async () => ({ kind: 'done', webhook: hook }),
  remove: async () => true,
  rotate: async () => ({ kind: 'done', webhook: hook, secret: 'whsec_c2VjcmV0' }),
  enable: async () => ({ kind: 'done', webhook: hook }),
  replay: async () => ({ kind: 'done', webhook: hook }),
  test: async () => ({ kind: 'sent', result: { outcome: 'delivered', status: 204, durationMs: 12, detail: null } }),
  listAttempts: async () => [],
  listParked: async () => [],
  retryParked: async () => 1,
  removeParked: async () => true,
};
