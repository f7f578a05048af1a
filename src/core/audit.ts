// The audit trail in words: who can have done something, what it can have been, and what it was done to. The list is closed. Nothing that
// goes into an entry may be a secret, or lead to one: of a webhook's URL the origin is told, because its path may be a password.

import type { UserId } from './ids.ts';

export const auditActions = [
  'key.created',
  'key.removed',
  'webhook.created',
  'webhook.changed',
  'webhook.rotated',
  'webhook.enabled',
  'webhook.replayed',
  'webhook.removed',
  'parked.retried',
  'parked.removed',
  'session.prepared',
  'session.kicked',
  'user.kicked',
  'user.erased',
  'quarantine.removed',
] as const;
export type AuditAction = (typeof auditActions)[number];

/** A stored key by its id; the key of the setting API_KEY; somebody on this machine, where no key is needed. */
export type Actor = `key:${string}` | 'api-key' | 'loopback';
export type AuditTarget = `key:${string}` | `webhook:${string}` | `user:${UserId}` | `quarantine:${number}`;

export type AuditEntry = {
  readonly actor: Actor;
  readonly action: AuditAction;
  readonly target: AuditTarget;
  /** JSON that can be stored: no U+0000, no lone surrogate. */
  readonly detail: Readonly<Record<string, unknown>>;
};
