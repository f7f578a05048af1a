// Tables that nobody else reads or writes until they are released.

import type { TestDatabase } from './database.ts';

export type TableLock = AsyncDisposable & { readonly release: () => Promise<void> };

export async function lockTables({ pool }: TestDatabase, tables: string): Promise<TableLock> {
  const client = await pool.connect();
  await client.query(`begin; lock table ${tables} in access exclusive mode`);
  let isReleased = false;
  const release = async () => {
    if (isReleased) return;
    isReleased = true;
    await client.query('rollback');
    client.release();
  };
  return { release, [Symbol.asyncDispose]: release };
}
