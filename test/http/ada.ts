// A user and her three sessions: one online, one lost, one ended.

import { ClientId, Epoch, SessionId, UserId } from '../../src/core/ids.ts';
import type { EndedSession, LostSession, OnlineSession } from '../../src/core/session.ts';

export const userId = UserId.parse('ada');
export const atMs = Date.parse('2026-11-23T10:00:00.000Z');
const common = {
  forgottenEpoch: Epoch.parse(1),
  clientId: ClientId.parse('c1'),
  device: { os: 'ios', label: 'Ada’s "phone"' },
  keyId: 'key',
  startedAtMs: atMs,
  lastSeenAtMs: atMs + 1_500,
  isUnheard: false,
};
export const online: OnlineSession = {
  ...common,
  sessionId: SessionId.parse('phone'),
  status: 'online',
  epoch: Epoch.parse(7),
  leaseUntilMs: atMs + 9,
  takeoverAtMs: atMs,
  owedWills: 1,
};
export const lost: LostSession = {
  ...common,
  sessionId: SessionId.parse('tab'),
  status: 'lost',
  epoch: Epoch.parse(0),
  graceUntilMs: atMs,
  clientId: null,
  device: null,
};
export const ended: EndedSession = {
  ...common,
  sessionId: SessionId.parse('desk'),
  status: 'ended',
  epoch: null,
  endedAtMs: atMs + 2_000,
  reason: 'kicked',
};
