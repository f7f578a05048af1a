// The name of this database, made with it and kept for ever: what tells it from every other one.

import type pg from 'pg';
import { invariant } from '../runtime/invariant.ts';
import { ask } from './database.ts';

export async function readDeployment(pool: pg.Pool): Promise<string> {
  const { rows } = await ask<{ id: string }>(pool, { text: 'select id from deployment' });
  const [row] = rows;
  invariant(row !== undefined, 'the migration gives the database a name');
  return row.id;
}
