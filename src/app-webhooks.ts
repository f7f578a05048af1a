// The managing half of webhooks, plugged together: what the routes ask for, from the tables; and, at the start, the keys that the secrets in
// them are sealed with.

import type pg from 'pg';
import { actorOf } from './app-keys.ts';
import type { AttemptsPort } from './http/routes/attempts.ts';
import type { Done, DoneWithSecret, TestResult, WebhookRefusal, WebhooksPort } from './http/routes/webhooks.ts';
import type { Logger } from './runtime/logger.ts';
import { SealError, type Sealing } from './runtime/sealing.ts';
import { listAttempts, listParked, removeParked, retryParked } from './store/attempts.ts';
import {
  changeEndpoint,
  createEndpoint,
  enableEndpoint,
  getEndpoint,
  listEndpoints,
  removeEndpoint,
  replayEndpoint,
  rotateSecret,
  type Done as StoreDone,
  type TooMany,
  type Unknown,
  type WithSecret,
} from './store/endpoints.ts';
import { positionBefore, type Refusal } from './store/log-start.ts';
import { resealSecrets } from './store/signing.ts';
import { secretText } from './webhooks/signature.ts';

export type WebhooksOptions = {
  /** Null where no SECRET_KEY is: what needs a secret is refused. */
  readonly sealing: Sealing | null;
  readonly targetProblem: WebhooksPort['targetProblem'];
  /** Null when there is no such endpoint (any more). */
  readonly sendTest: ((endpointId: string) => Promise<TestResult | null>) | null;
};

export function createWebhooksPort(pool: pg.Pool, options: WebhooksOptions): WebhooksPort & AttemptsPort {
  const { sealing, sendTest, targetProblem } = options;
  return {
    targetProblem,
    create: async ({ enabled, ...wanted }, caller) => {
      if (sealing === null) return noSecretKey;
      return withSecret(await createEndpoint(pool, sealing, { ...wanted, isEnabled: enabled }, actorOf(caller)));
    },
    list: (page) => listEndpoints(pool, page),
    get: (id) => getEndpoint(pool, id),
    change: async (id, { enabled, ...changes }, caller) =>
      outcome(await changeEndpoint(pool, id, { ...changes, isEnabled: enabled }, actorOf(caller))),
    remove: (id, caller) => removeEndpoint(pool, id, actorOf(caller)),
    rotate: async (id, caller) =>
      sealing === null ? noSecretKey : withSecret(await rotateSecret(pool, sealing, id, actorOf(caller))),
    enable: async (id, caller) => outcome(await enableEndpoint(pool, id, actorOf(caller))),
    replay: async (id, from, caller) => {
      const after = 'after' in from ? from.after : await positionBefore(pool, from.sinceMs);
      return typeof after === 'number' ? outcome(await replayEndpoint(pool, id, after, actorOf(caller))) : after;
    },
    test: async (id) => {
      if (sendTest === null) return noSecretKey;
      const result = await sendTest(id).catch(unsigned);
      return result === null ? { kind: 'unknown' } : { kind: 'sent', result };
    },
    listAttempts: (id, outcome, page) => listAttempts(pool, id, outcome, page),
    listParked: (id, page) => listParked(pool, id, page),
    retryParked: (id, parkedId, caller) => retryParked(pool, id, parkedId, actorOf(caller)),
    removeParked: (id, parkedId, caller) => removeParked(pool, id, parkedId, actorOf(caller)),
  };
}

/** Nothing is sent that cannot be signed: a rotation helps. */
function unsigned(error: unknown): TestResult {
  if (!(error instanceof SealError)) throw error;
  return { outcome: 'failed', status: null, durationMs: 0, detail: error.message };
}

/** When a newer key has come, the older ones seal nothing any more once this is done. */
export async function adoptNewestKey(pool: pg.Pool, sealing: Sealing, logger: Logger): Promise<void> {
  const { resealed, unreadable } = await resealSecrets(pool, sealing);
  if (resealed > 0) logger.info({ event: 'secrets.resealed', endpoints: resealed });
  if (unreadable.length > 0) logger.error({ event: 'secrets.unreadable', endpoints: unreadable });
}

const noSecretKey = { kind: 'no-secret-key' } as const;

function outcome(from: StoreDone | Unknown | Refusal): Done | WebhookRefusal {
  return from.kind === 'done' ? { kind: 'done', webhook: from.endpoint } : from;
}

function withSecret(from: WithSecret | Unknown | TooMany | Refusal): DoneWithSecret | WebhookRefusal {
  if (from.kind === 'too-many') return { kind: 'too-many', webhooksMax: from.endpointsMax };
  return from.kind === 'done' ? { kind: 'done', webhook: from.endpoint, secret: secretText(from.secret) } : from;
}
