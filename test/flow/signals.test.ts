import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { createHome, type Home, isAlive, postmasterPid } from '../support/embedded.ts';
import { type Child, startChild } from '../support/process.ts';

const repository = fileURLToPath(new URL('../..', import.meta.url));
/** How soon somebody who is impatient, or a shell and npm together, ask again. */
const againMs = 30;

/** In a process group of its own, as a shell starts it. */
async function startIn(home: Home, command: string, args: readonly string[]): Promise<Child> {
  const { PATH, HOME } = process.env;
  const env = { PATH, HOME, DATA_DIR: home.dataDir, HTTP_PORT: '0', EMBEDDED_MQTT_PORT: '0' };
  const child = await startChild(command, args, { cwd: repository, env, detached: true });
  await child.line((line) => line.includes('"willow.ready"'), 'willow.ready');
  return child;
}

/** Asks again and again until it is gone; returns how often. */
async function askUntilGone(child: Child, ask: () => void): Promise<number> {
  let asked = 1;
  ask();
  const timer = setInterval(() => {
    asked += 1;
    try {
      ask();
    } catch {
      clearInterval(timer);
    }
  }, againMs);
  await child.exited;
  clearInterval(timer);
  return asked;
}

const stoppedBy = (child: Child, signal: string) =>
  child.lines.filter((line) => line.includes('"willow.stopped"') && line.includes(`"${signal}"`)).length;

test('asked to end again and again, Willow ends orderly, and once: nothing of it is left over', async () => {
  await using home = await createHome();
  await using willow = await startIn(home, process.execPath, ['src/main.ts']);
  const postgres = await postmasterPid(home.dataDir);
  expect(await askUntilGone(willow, () => willow.kill('SIGTERM'))).toBeGreaterThan(1);
  expect(await willow.exited).toBe(0);
  expect(stoppedBy(willow, 'SIGTERM')).toBe(1);
  expect(isAlive(postgres)).toBe(false);
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s for all of npm start, which passes on what Willow has got already, ends it orderly',
  async (signal) => {
    await using home = await createHome();
    await using npm = await startIn(home, 'npm', ['start']);
    const postgres = await postmasterPid(home.dataDir);
    process.kill(-npm.pid, signal);
    await npm.exited;
    expect(stoppedBy(npm, signal)).toBe(1);
    expect(isAlive(postgres)).toBe(false);
  },
);
