// Who did what: the audit trail, newest first.

import { z } from 'zod';
import { type AuditAction, auditActions } from '../../core/audit.ts';
import { isStorableText } from '../../core/ids.ts';
import { listAuditRecords } from '../answers/keys.ts';
import { defineCursor, sendPage } from '../cursor.ts';
import type { HttpServer } from '../instance.ts';
import { PageQuery } from '../parameters.ts';
import { auditBody } from '../render.ts';

const cursor = defineCursor('audit', z.strictObject({ id: z.int().min(0) }));

/** More than the longest that is written: the id of a user, and what comes before it. */
const nameCharactersMax = 600;
const nameSentence = `must be text of at most ${nameCharactersMax} characters, given once`;
const Name = z.string(nameSentence).max(nameCharactersMax, nameSentence).refine(isStorableText, nameSentence);

const AuditQuery = PageQuery.extend({
  actor: Name.optional().describe('Only what this one did.'),
  action: z
    .enum(auditActions, `must be one of ${auditActions.join(', ')}`)
    .optional()
    .describe('Only what was this.'),
  target: Name.optional().describe('Only what was done to this.'),
});

export type AuditRecord = {
  readonly id: number;
  readonly atMs: number;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly detail: Readonly<Record<string, unknown>>;
};

/** Newest first; what is null does not matter. */
export type AuditPort = (
  filter: { readonly actor: string | null; readonly action: AuditAction | null; readonly target: string | null },
  page: { readonly limit: number; readonly before: number | null },
) => Promise<readonly AuditRecord[]>;

export function auditRoutes(app: HttpServer, listAudit: AuditPort): void {
  app.get(
    '/audit',
    { config: { scope: 'keys:admin', operation: listAuditRecords }, schema: { querystring: AuditQuery } },
    async (request, reply) => {
      const { actor = null, action = null, target = null } = request.query;
      return sendPage(reply, request.query, {
        cursor,
        first: { id: null },
        read: ({ id }, limit) => listAudit({ actor, action, target }, { limit, before: id }),
        placeOf: ({ id }) => ({ id }),
        itemOf: auditBody,
      });
    },
  );
}
