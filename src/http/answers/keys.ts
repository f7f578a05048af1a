// What the calls about keys and the audit trail answer, and what the documents say of them.

import { z } from 'zod';
import { auditActions } from '../../core/audit.ts';
import { scopes } from '../instance.ts';
import { named, type Operation, pageOf } from '../openapi/operation.ts';

const shown = {
  name: z.string().describe('Whose it is, for whoever reads the list.'),
  scopes: z.array(z.enum(scopes)).describe('What it may do.'),
  createdAt: z.iso.datetime().describe('When it was made.'),
  expiresAt: z.iso.datetime().nullable().describe('Until when it is good; null: until it is removed.'),
  lastUsedAt: z.iso.datetime().nullable().describe('When it was last shown, to the minute; null: never.'),
};
const id = z.string().describe('Of the key: no secret.');

export const ApiKey = z.object({ id, ...shown }).register(named, { id: 'ApiKey' });
export const NewApiKey = z
  .object({ id, key: z.string().describe('The key itself: shown here, and never again.'), ...shown })
  .register(named, { id: 'ApiKeyWithSecret' });
export const ApiKeyPage = pageOf(ApiKey, 'ApiKeyPage');

const AuditRecord = z
  .object({
    id: z.int().min(1).describe('Of this entry.'),
    at: z.iso.datetime().describe('When it was done.'),
    actor: z
      .string()
      .describe('`key:` and the id of a key, `api-key` (the setting), or `loopback` where no key is needed.'),
    action: z.enum(auditActions).describe('What was done.'),
    target: z.string().describe('To what: `key:`, `webhook:`, `user:` or `quarantine:` and an id.'),
    detail: z.record(z.string(), z.unknown()).describe('More, by the action; never a secret.'),
  })
  .register(named, { id: 'AuditRecord' });
export const AuditPage = pageOf(AuditRecord, 'AuditPage');

const key = {
  id: '1f0c8e5a9b3d7246',
  name: 'billing',
  scopes: ['presence:read', 'events:read'],
  createdAt: '2026-11-23T10:00:00.000Z',
  expiresAt: null,
  lastUsedAt: null,
} satisfies z.input<typeof ApiKey>;

export const createKey: Operation = {
  id: 'createKey',
  tag: 'keys',
  summary: 'Make an API key',
  description: 'With the scopes that it is to have, any of them.',
  body: {
    name: 'NewKey',
    description: 'Without `expiresAt` it is good until it is removed.',
    example: { name: key.name, scopes: key.scopes, expiresAt: null },
  },
  answers: {
    201: {
      description: 'The key.',
      headers: ['Location', 'No-Store'],
      schema: NewApiKey,
      example: { key: 'willow_1f0c8e5a9b3d7246_5a9c…', ...key } satisfies z.input<typeof NewApiKey>,
    },
  },
  problems: ['too-many-keys'],
};

export const listKeys: Operation = {
  id: 'listKeys',
  tag: 'keys',
  summary: 'The API keys',
  description: 'Newest first, those that have expired too.',
  answers: {
    200: {
      description: 'A page of keys.',
      schema: ApiKeyPage,
      example: { data: [key], nextCursor: null } satisfies z.input<typeof ApiKeyPage>,
    },
  },
};

export const getKey: Operation = {
  id: 'getKey',
  tag: 'keys',
  summary: 'One API key',
  description: 'By its id; the key itself is not kept.',
  answers: { 200: { description: 'The key.', schema: ApiKey, example: key } },
  problems: ['unknown-key'],
};

export const deleteKey: Operation = {
  id: 'deleteKey',
  tag: 'keys',
  summary: 'Remove an API key',
  description: 'It is refused from now on; by other processes within a second.',
  answers: { 204: { description: 'It is removed.' } },
  problems: ['unknown-key'],
};

export const listAuditRecords: Operation = {
  id: 'listAuditRecords',
  tag: 'keys',
  summary: 'Who did what',
  description: 'The audit trail, newest first, of the last 400 days.',
  answers: {
    200: {
      description: 'A page of the trail.',
      schema: AuditPage,
      example: {
        data: [
          {
            id: 12,
            at: '2026-11-23T10:00:00.000Z',
            actor: 'key:1f0c8e5a9b3d7246',
            action: 'session.kicked',
            target: 'user:42',
            detail: { sessionId: 'phone' },
          },
        ],
        nextCursor: null,
      } satisfies z.input<typeof AuditPage>,
    },
  },
};
