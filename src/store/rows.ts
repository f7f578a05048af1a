// Rows of the tables and values of the core, one into the other. A row that the core could not have written is a defect.

import type { ClientId, Epoch, SessionId, UserId } from '../core/ids.ts';
import type { EndReason, Event, EventType, Session, UserState } from '../core/session.ts';
import type { Device } from '../core/signal.ts';
import { invariant } from '../runtime/invariant.ts';

/** As pg returns it with the type parsers of database.ts: bigints as numbers, times in ms. */
export type UserRow = {
  readonly user_id: string;
  readonly revision: number;
  readonly sequence: number;
  readonly kicked: boolean;
  readonly since: number | null;
  readonly last_seen_at: number | null;
  readonly last_ended_at: number | null;
  readonly last_event_at: number | null;
};

export type SessionRow = {
  readonly session_id: string;
  readonly status: 'online' | 'lost' | 'ended';
  readonly epoch: number | null;
  readonly forgotten_epoch: number | null;
  readonly unheard: boolean;
  readonly client_id: string | null;
  readonly device: Device | null;
  readonly key_id: string | null;
  readonly started_at: number;
  readonly session_seen_at: number;
  readonly takeover_at: number | null;
  readonly owed_wills: number;
  readonly deadline_at: number | null;
  readonly ended_at: number | null;
  readonly reason: string | null;
};

export const userColumns =
  'u.user_id, u.revision, u.sequence, u.kicked, u.since, u.last_seen_at, u.last_ended_at, u.last_event_at';
export const sessionColumns = `s.session_id, s.status::text, s.epoch, s.forgotten_epoch, s.unheard, s.client_id, s.device, s.key_id, s.started_at,
  s.last_seen_at as session_seen_at, s.takeover_at, s.owed_wills, s.deadline_at, s.ended_at, s.reason`;

export function userOf(row: UserRow, sessions: ReadonlyMap<SessionId, Session>): UserState {
  return {
    userId: row.user_id as UserId,
    sequence: row.sequence,
    isKicked: row.kicked,
    sinceMs: row.since,
    lastSeenAtMs: row.last_seen_at,
    lastEndedAtMs: row.last_ended_at,
    lastEventAtMs: row.last_event_at,
    sessions,
  };
}

export function sessionOf(row: SessionRow): Session {
  const login = {
    sessionId: row.session_id as SessionId,
    epoch: row.epoch as Epoch | null,
    isUnheard: row.unheard,
    forgottenEpoch: row.forgotten_epoch as Epoch | null,
    clientId: row.client_id as ClientId | null,
    device: row.device,
    keyId: row.key_id,
    startedAtMs: row.started_at,
    lastSeenAtMs: row.session_seen_at,
  };
  switch (row.status) {
    case 'online':
      invariant(row.epoch !== null || row.unheard, 'an online session that was heard has an epoch');
      return {
        ...login,
        status: 'online',
        leaseUntilMs: row.deadline_at,
        takeoverAtMs: row.takeover_at,
        owedWills: row.owed_wills,
      };
    case 'lost':
      invariant(row.epoch !== null || row.unheard, 'a lost session that was heard has an epoch');
      invariant(row.deadline_at !== null, 'a lost session has a deadline');
      return { ...login, status: 'lost', graceUntilMs: row.deadline_at };
    case 'ended':
      invariant(row.ended_at !== null && row.reason !== null, 'an ended session has a time and a reason');
      return { ...login, status: 'ended', endedAtMs: row.ended_at, reason: row.reason as EndReason };
  }
}

export type EventRow = {
  readonly position: number;
  readonly user_id: string;
  readonly sequence: number;
  readonly type: string;
  readonly session_id: string;
  readonly epoch: number | null;
  readonly reason: string | null;
  readonly device: Device | null;
  readonly at: number;
};

export const eventColumns =
  'e.position, e.user_id, e.sequence, e.type, e.session_id, e.epoch, e.reason, e.device, e.at';

export function eventOf(row: EventRow): Event & { readonly position: number } {
  return {
    position: row.position,
    userId: row.user_id as UserId,
    sequence: row.sequence,
    type: row.type as EventType,
    sessionId: row.session_id as SessionId,
    epoch: row.epoch as Epoch | null,
    reason: row.reason as EndReason | null,
    device: row.device,
    atMs: row.at,
  };
}
