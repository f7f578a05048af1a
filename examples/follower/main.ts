// The follower as a process: WILLOW_URL, WILLOW_KEY and COPY_FILE say whom it follows and where it keeps the copy; with COPY_STATUS=online
// it begins with those who are online. SIGTERM ends it, and so may SIGKILL.

import { follow } from './follower.ts';
import { openSqliteCopy } from './sqlite-copy.ts';

const { WILLOW_URL, WILLOW_KEY, COPY_FILE, COPY_STATUS, PAGE_USERS_MAX, SILENCE_MS_MAX } = process.env;
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());

const say = (event: string, more?: unknown) => {
  const detail = more instanceof Error ? sentenceOf(more) : more;
  process.stdout.write(`${JSON.stringify({ event, detail })}\n`);
};
const sentenceOf = ({ message, cause }: Error) => (cause instanceof Error ? `${message}: ${String(cause)}` : message);
using copy = openSqliteCopy(COPY_FILE ?? 'copy.db');
const source = {
  url: WILLOW_URL ?? 'http://localhost:8080',
  say,
  ...(WILLOW_KEY !== undefined && { key: WILLOW_KEY }),
  ...(COPY_STATUS === 'online' && ({ status: COPY_STATUS } as const)),
  ...(PAGE_USERS_MAX !== undefined && { pageUsersMax: Number(PAGE_USERS_MAX) }),
  ...(SILENCE_MS_MAX !== undefined && { silenceMsMax: Number(SILENCE_MS_MAX) }),
};
await follow(source, copy, stop.signal).catch((error: unknown) => {
  say('follower.stopped', error);
  process.exitCode = 1;
});
