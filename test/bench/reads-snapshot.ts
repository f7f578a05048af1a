// Question: how long does it take to copy all users through GET /presence, a thousand a page, one page after the other, and does Willow hold
// more of them in memory when there are more? Each copy is compared with the database: how many, and a digest of who is what.

import { createHash } from 'node:crypto';
import type { Willow } from '../support/willow.ts';
import { authorization, cpuMsOf, machineLoad, memoryMiBOf, print, type ReadStage } from './reads-stage.ts';
import { monotonicMs, shown, spreadOf } from './stats.ts';

type Shown = { readonly userId: string; readonly status: string; readonly sessions: readonly unknown[] };
type Page = { readonly data: readonly Shown[]; readonly nextCursor: string | null; readonly position: number };
type Copied = { readonly users: number; readonly online: number; readonly digest: string; readonly tookMs: number };

const pageUsers = 1_000;
const fewUsers = 10_000;

async function copy(willow: Willow, usersMax: number): Promise<Copied> {
  const digest = createHash('md5');
  let [users, online, last, cursor] = [0, 0, '', null as string | null];
  const fromMs = monotonicMs();
  do {
    const place = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const response = await fetch(`${willow.http}/presence?sessions=true&limit=${pageUsers}${place}`, {
      headers: authorization,
    });
    if (response.status !== 200) throw new Error(`a page was answered with ${response.status}`);
    const page = (await response.json()) as Page;
    for (const { userId, status, sessions } of page.data) {
      if (userId <= last) throw new Error(`${userId} comes after ${last}`);
      last = userId;
      users += 1;
      if (status === 'online') online += 1;
      digest.update(`${userId} ${status} ${sessions.length}\n`);
    }
    cursor = page.nextCursor;
  } while (cursor !== null && users < usersMax);
  return { users, online, digest: digest.digest('hex'), tookMs: monotonicMs() - fromMs };
}

/** What a copy of everything must be. */
async function truth({ pool }: ReadStage): Promise<Pick<Copied, 'users' | 'digest'>> {
  const { rows } = await pool.query<{ users: number; digest: string }>(
    `select count(*)::int as users, md5(string_agg(format(E'%s %s %s\n', user_id,
       case when live > 0 then 'online' else 'offline' end, live), '' order by user_id collate "C")) as digest
     from users u cross join lateral (
       select count(*) as live from sessions s where s.user_id = u.user_id and s.ended_at is null) s`,
  );
  const [row] = rows;
  if (row === undefined) throw new Error('there is no truth');
  return row;
}

export async function benchSnapshot(stage: ReadStage, { rounds }: { readonly rounds: number }): Promise<void> {
  const wanted = await truth(stage);
  const results = { few: [] as number[], all: [] as number[], seconds: [] as number[], cpu: [] as number[] };
  for (let round = 0; round < rounds; round += 1) {
    {
      await using willow = await stage.startWillow();
      // As many pages as the whole copy has, of the same few users: what is left of them would show.
      for (let users = 0; users < wanted.users; users += fewUsers) await copy(willow, fewUsers);
      results.few.push(memoryMiBOf(willow.child.pid, 'peak'));
      await willow.child.end('SIGTERM');
    }
    await using willow = await stage.startWillow();
    const fromMs = cpuMsOf(willow.child.pid);
    const copied = await copy(willow, Number.POSITIVE_INFINITY);
    results.cpu.push((cpuMsOf(willow.child.pid) - fromMs) / 1_000);
    results.all.push(memoryMiBOf(willow.child.pid, 'peak'));
    results.seconds.push(copied.tookMs / 1_000);
    await willow.child.end('SIGTERM');
    if (copied.users !== wanted.users || copied.digest !== wanted.digest) {
      throw new Error(`the copy is another: ${JSON.stringify({ copied, wanted })}`);
    }
    const memory = `${results.few.at(-1)?.toFixed(0)} MiB at most with ${fewUsers}, ${results.all.at(-1)?.toFixed(0)} with all`;
    print(`<!-- round ${round + 1}: ${results.seconds.at(-1)?.toFixed(1)} s, ${memory}; ${machineLoad()} -->`);
  }
  print(
    `\n| a copy of ${wanted.users} users, sessions included, equal to the database (min / median / max) | |\n|---|---|`,
  );
  print(`| seconds | ${shown(spreadOf(results.seconds), 1)} |`);
  print(`| seconds of CPU of the process | ${shown(spreadOf(results.cpu), 1)} |`);
  print(
    `| MiB the process ever held, the same pages again and again of ${fewUsers} users | ${shown(spreadOf(results.few))} |`,
  );
  print(`| … of all users | ${shown(spreadOf(results.all))} |`);
}
