// The follower of examples/follower as a process that tests kill, with the file that it leaves behind. Every state that it ever commits as
// true is written down in that very file, by a trigger: no moment at which it was wrong goes unseen.

import { rm } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { openSqliteCopy } from '../../examples/follower/sqlite-copy.ts';
import { type Child, startChild } from './process.ts';
import { until } from './until.ts';

export type CopiedUser = {
  readonly status: string;
  readonly since: string | null;
  readonly sequence: number;
  readonly sessionIds: readonly string[];
};

/** What was served as true at a position of the log. */
export type Served = { readonly position: number; readonly users: Readonly<Record<string, CopiedUser>> };

export type Follower = AsyncDisposable & {
  readonly start: () => Promise<void>;
  readonly kill: () => Promise<void>;
  /** How often it said so, over all its lives. */
  readonly said: (event: string) => number;
  /** Whatever it said, over all its lives. */
  readonly lines: () => readonly string[];
  /** Null while the copy is not true. */
  readonly truePosition: () => number | null;
  /** Everything that it ever served as true, oldest first, each state once. */
  readonly served: () => Iterable<Served>;
  /** As if its log were that of a database that has been replaced by an older one. */
  readonly moveAhead: (by: number) => void;
};

const currentUsers = `
  select json_group_object(user_id, json_object('status', status, 'since', since, 'sequence', sequence, 'sessionIds', json((
    select json_group_array(session_id) from sessions s where s.user_id = u.user_id)))) from users u`;
const writeDown = `begin insert or ignore into served values (new.position, (${currentUsers})); end`;

export function openFollower(file: string, environment: Readonly<Record<string, string>>): Follower {
  openSqliteCopy(file)[Symbol.dispose]();
  const database = new DatabaseSync(file);
  database.exec(`
    pragma busy_timeout = 5000;
    create table served (position integer not null, users text not null, primary key (position, users));
    create trigger moved after update on place when new.position >= new.true_from ${writeDown};
    create trigger came after insert on place when new.position >= new.true_from ${writeDown};`);
  const lives: Child[] = [];
  const kill = async () => {
    await lives.at(-1)?.end('SIGKILL');
  };
  const lines = () => lives.flatMap((child) => child.lines);
  const { PATH } = process.env;
  return {
    kill,
    lines,
    start: async () => {
      const env = { PATH, NODE_NO_WARNINGS: '1', COPY_FILE: file, ...environment };
      lives.push(await startChild(process.execPath, ['examples/follower/main.ts'], { env }));
    },
    said: (event) => lines().filter((line) => line.startsWith(`{"event":"${event}"`)).length,
    truePosition: () => {
      const row = database.prepare('select position from place where position >= true_from').get();
      return (row?.['position'] as number | undefined) ?? null;
    },
    *served() {
      for (const row of database.prepare('select position, users from served order by position').iterate()) {
        yield { position: row['position'] as number, users: JSON.parse(String(row['users'])) as Served['users'] };
      }
    },
    moveAhead: (by) => {
      database.exec(`begin immediate; update place set position = position + ${by};
        delete from served where position >= (select position from place); commit`);
    },
    [Symbol.asyncDispose]: async () => {
      await kill();
      database.close();
      for (const suffix of ['', '-wal', '-shm']) await rm(`${file}${suffix}`, { force: true });
    },
  };
}

/** True at this position of the log, or later. */
export async function caughtUp(follower: Follower, head: number): Promise<void> {
  const isThere = () => (follower.truePosition() ?? -1) >= head;
  await until(`the follower at ${head}`, isThere).catch((error: unknown) => {
    const said = follower.lines().slice(-20).join('\n');
    throw new Error(`true at ${follower.truePosition()}; it said:\n${said}`, { cause: error });
  });
}
