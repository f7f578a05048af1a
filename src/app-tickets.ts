// Tickets, plugged together: the keys of the settings, those that the database still knows, who mints and who verifies.

import type pg from 'pg';
import type { TicketClaims, TicketRules } from './core/ticket.ts';
import type { Logger } from './runtime/logger.ts';
import { createSealing } from './runtime/sealing.ts';
import type { Settings } from './settings.ts';
import { DatabaseAwayError } from './store/database.ts';
import { forgetTicketKeys, keepTicketKeys, listRetiredKeys } from './store/ticket-keys.ts';
import { listedKey, retiredKey } from './tickets/keys.ts';
import { mintTicket } from './tickets/mint.ts';
import { createVerifier } from './tickets/verify.ts';

export type Tickets = {
  readonly rules: TicketRules;
  /** Null where no SECRET_KEY is. */
  readonly minting: { readonly keyId: string; readonly mint: (claims: TicketClaims) => Promise<string> } | null;
};

export async function openTickets(
  pool: pg.Pool,
  { SECRET_KEY, REQUIRE_TICKETS }: Settings,
  logger: Logger,
): Promise<Tickets> {
  if (SECRET_KEY === null) return { rules: { isRequired: REQUIRE_TICKETS, verify: () => null }, minting: null };
  const sealing = createSealing(SECRET_KEY);
  const newest = listedKey(SECRET_KEY[0]);
  const listed = [newest, ...SECRET_KEY.slice(1).map(listedKey)];
  await keepTicketKeys(pool, sealing, listed);
  const forgotten = await forgetTicketKeys(pool, listed).catch((error: unknown) => {
    // With very many live sessions it takes longer than a statement may: it can wait for another start.
    if (!(error instanceof DatabaseAwayError)) throw error;
    logger.warn({ event: 'tickets.not-forgotten', err: error });
    return 0;
  });
  const { retired, unreadable } = await listRetiredKeys(pool, sealing, listed);
  if (forgotten > 0 || retired.length > 0) {
    logger.info({ event: 'tickets.retired-keys', kept: retired.length, forgotten });
  }
  if (unreadable.length > 0) logger.warn({ event: 'tickets.unreadable-keys', keys: unreadable });
  const verify = createVerifier([...listed, ...retired.map(retiredKey)]);
  return {
    rules: { isRequired: REQUIRE_TICKETS, verify },
    minting: { keyId: newest.keyId, mint: (claims) => mintTicket(newest, claims) },
  };
}
