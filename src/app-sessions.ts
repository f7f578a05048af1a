// What backends do to sessions and users, plugged together: a login is prepared, sessions are ended, a user is erased. Each is done and written
// into the audit trail in one transaction.

import { createHash, randomBytes } from 'node:crypto';
import type pg from 'pg';
import { type Base, countEvents, tracedOf } from './app-ingest.ts';
import { actorOf } from './app-keys.ts';
import type { Tickets } from './app-tickets.ts';
import { runTrimming } from './app-trimming.ts';
import type { AuditEntry } from './core/audit.ts';
import { SessionId, type UserId } from './core/ids.ts';
import { preparedMessages, whyUnheard } from './core/prepared.ts';
import type { Signal } from './core/signal.ts';
import type { Caller } from './http/instance.ts';
import type { Prepared, PreparePort, PrepareRefusal, PrepareRequest } from './http/routes/prepared-sessions.ts';
import { recordAudit } from './store/audit.ts';
import { commit, type Decide } from './store/commit.ts';
import { DoneBeforeError } from './store/database.ts';
import { claimOnce, type Once, onceTrimRowsMax, trimOnce } from './store/idempotency.ts';
import { transact } from './store/transact.ts';

/** How long births are heard with one ticket. Wills are for ever. */
const ticketSeconds = 30 * 86_400;
const sessionIdBytes = 16;
/** Some 4,000 rows a second at most. */
const trimAgainMs = 250;

export function createPreparePort(base: Base, pool: pg.Pool, { minting }: Tickets): PreparePort {
  return {
    prepare: async (request) => {
      if (minting === null) return { kind: 'no-secret-key' };
      const fresh = {
        sessionId: request.sessionId ?? SessionId.parse(randomBytes(sessionIdBytes).toString('base64url')),
        issuedAtSeconds: Math.floor(base.nowMs() / 1_000),
      };
      // Before anything is written: what could not be heard is not promised.
      const answer = await answerFor(base, request, fresh, minting);
      if (answer.kind !== 'prepared') return answer;
      const claimed = await claim(pool, request, fresh);
      if (claimed === 'reused') return { kind: 'key-reused' };
      if (request.isLive && !claimed.isDone) {
        const { userId, device, leaseMs } = request;
        const { sessionId } = claimed;
        const signal = { kind: 'prepare', userId, sessionId, device, leaseMs, keyId: minting.keyId } as const;
        await decideOne(base, pool, signal, { audit: entryOf(request, sessionId), once: onceOf(request) });
      }
      const isFirst = claimed.sessionId === fresh.sessionId && claimed.issuedAtSeconds === fresh.issuedAtSeconds;
      return isFirst ? answer : answerFor(base, request, claimed, minting);
    },
  };
}

type Fresh = Pick<Prepared, 'sessionId'> & { readonly issuedAtSeconds: number };

/** The same for the same session and time, as long as no newer key signs. */
async function answerFor(
  { wire, nowMs }: Base,
  { userId, device, leaseMs }: PrepareRequest,
  { sessionId, issuedAtSeconds }: Fresh,
  { mint }: NonNullable<Tickets['minting']>,
): Promise<Prepared | PrepareRefusal> {
  const expiresAtSeconds = issuedAtSeconds + ticketSeconds;
  const ticket = await mint({ userId, sessionId, issuedAtSeconds, expiresAtSeconds, leaseMs });
  const session = { userId, sessionId, device, ticket };
  const messages = preparedMessages(session, wire);
  const why = whyUnheard(messages, session, wire, nowMs());
  if (why !== null) return { kind: 'unheard', why };
  return { kind: 'prepared', ...messages, sessionId, expiresAtMs: expiresAtSeconds * 1_000 };
}

/** What is not to become live is done once it is written that it was given away. */
async function claim(
  pool: pg.Pool,
  request: PrepareRequest,
  fresh: Fresh,
): Promise<(Fresh & { isDone: boolean }) | 'reused'> {
  const entry = entryOf(request, fresh.sessionId);
  const once = onceOf(request);
  if (once !== null) {
    const { userId, sessionId, device, leaseMs, isLive } = request;
    const asked = JSON.stringify([userId, sessionId, device, leaseMs, isLive]);
    const digest = createHash('sha256').update(asked).digest();
    return claimOnce(pool, once, { userId, ...fresh, digest }, isLive ? null : entry);
  }
  if (!request.isLive) await transact(pool, (tx) => recordAudit(tx, entry));
  return { ...fresh, isDone: !request.isLive };
}

function onceOf({ caller, idempotencyKey }: PrepareRequest): Once | null {
  return idempotencyKey === null ? null : { caller: actorOf(caller), key: idempotencyKey };
}

function entryOf({ caller, userId, isLive }: PrepareRequest, sessionId: SessionId): AuditEntry {
  const detail = { sessionId, live: isLive };
  return { actor: actorOf(caller), action: 'session.prepared', target: `user:${userId}`, detail };
}

/** One signal of a backend, decided and committed now. */
async function decideOne(
  base: Base,
  pool: pg.Pool,
  signal: Signal,
  {
    audit,
    once,
    decide = base.decide,
  }: { readonly audit: AuditEntry; readonly once: Once | null; readonly decide?: Decide },
): Promise<void> {
  // Whether a birth that saves a session is waiting unread is not known here: deadlines are left to those who listen (I6).
  const moment = { nowMs: base.nowMs(), lapseUntilMs: null };
  const entry = { signal, ...moment, receipt: null, mayBeCommitted: false, audit, ...(once !== null && { once }) };
  const { base: traced, trace } = tracedOf({ ...base, decide });
  try {
    countEvents(base, await commit(pool, [entry], traced.decide, null));
    trace?.end(base.nowMs());
  } catch (error) {
    // Asked for twice at the same time: the other one did it.
    if (!(error instanceof DoneBeforeError)) throw error;
  }
}

export async function kick(
  base: Base,
  pool: pg.Pool,
  userId: UserId,
  sessionId: SessionId | null,
  caller: Caller,
): Promise<'done' | 'unknown-session'> {
  let isKnown = false;
  const decide: Decide = (user, signal, moment) => {
    isKnown = sessionId === null || user.sessions.has(sessionId);
    return base.decide(user, signal, moment);
  };
  const audit = {
    actor: actorOf(caller),
    action: sessionId === null ? 'user.kicked' : 'session.kicked',
    target: `user:${userId}`,
    detail: sessionId === null ? {} : { sessionId },
  } as const;
  await decideOne(base, pool, { kind: 'kick', userId, sessionId }, { audit, once: null, decide });
  return isKnown ? 'done' : 'unknown-session';
}

/** Forgets what was asked for by key more than a day ago, until the signal aborts. */
export function runSessionChores(base: Base, pool: pg.Pool, signal: AbortSignal): Promise<void> {
  const trim = async () => (await trimOnce(pool)) === onceTrimRowsMax;
  return runTrimming(base, { name: 'idempotency', trim, againMs: trimAgainMs }, signal);
}
