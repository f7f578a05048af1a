// The pages of the quarantine's reasons: the message on each is published as it stands there and is found with that reason, and the mended
// one is heard.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type QuarantineReason, quarantineReasons } from '../../src/core/signal.ts';
import { listedKey } from '../../src/tickets/keys.ts';
import { mintTicket } from '../../src/tickets/mint.ts';
import { documented, hasDocumented } from '../support/documented.ts';
import { prepare, withEpoch } from '../support/prepared.ts';
import { openStage, type Stage } from '../support/stage.ts';
import { secretKey, type Willow } from '../support/willow.ts';

type Message = {
  readonly id: number;
  readonly receivedAt: string;
  readonly reason: string;
  readonly payload: string;
};

const opened = new AsyncDisposableStack();
let stage: Stage;
/** On the same broker: tickets are required. */
let strict: Willow;
let home: string;
/** What the messages call by a name. */
const names: Record<string, string> = {};

const year = (number: number) => Date.UTC(number, 0) / 1_000;

beforeAll(async () => {
  stage = opened.use(await openStage());
  strict = await stage.open({ REQUIRE_TICKETS: 'true' });
  home = await mkdtemp(join(tmpdir(), 'willow-quarantine-'));
  opened.defer(() => rm(home, { recursive: true }));
  await writeFile(join(home, 'mosquitto_pub'), `-p ${stage.mosquitto.port}\n`);
  const key = listedKey(Buffer.from(secretKey, 'base64url'));
  const claims = { userId: '42', sessionId: 'phone', issuedAtSeconds: year(2026), leaseMs: null };
  names['TICKET'] = await mintTicket(key, { ...claims, expiresAtSeconds: year(2099) });
  names['EXPIRED'] = await mintTicket(key, { ...claims, expiresAtSeconds: year(2026) + 30 * 86_400 });
});

afterAll(() => opened.disposeAsync());

async function run(script: string): Promise<void> {
  const env = { PATH: process.env['PATH'], XDG_CONFIG_HOME: home, ...names };
  await promisify(execFile)('sh', ['-c', script], { env });
}

let marks = 0;

/** What has come into the quarantine since the last time, oldest first, once everything that was said before has been settled. */
async function added(willow: Willow, since: Message | undefined): Promise<readonly Message[]> {
  marks += 1;
  const userId = `mark-${marks}`;
  const { birth } = await prepare(willow, userId);
  await stage.voice.say(birth.topic, withEpoch(birth, 1));
  await willow.presenceWhen(userId, ({ status }) => status === 'online');
  const { body } = await willow.get<{ data: readonly Message[] }>('/quarantine?limit=100');
  return body.data.filter(({ id }) => id > (since?.id ?? 0)).toReversed();
}

/** Nothing that a client says gets there: somebody has given the database a rule of their own. */
async function refusePoison(): Promise<void> {
  await stage.database.pool.query(`
    create function refuse_poison() returns trigger language plpgsql as $$
    begin
      if new.user_id = 'poison' then raise exception 'no' using errcode = '23514'; end if;
      return new;
    end $$;
    create trigger poison before insert or update on users for each row execute function refuse_poison()`);
}

const worlds: readonly (readonly [what: string, willow: () => Willow, reasons: readonly QuarantineReason[]])[] = [
  ['any', () => stage.willow, quarantineReasons.filter((reason) => reason !== 'no-ticket')],
  ['that requires tickets', () => strict, ['no-ticket']],
];
const AsyncFunction = (async () => undefined).constructor as FunctionConstructor;
type Snippet = (client: MqttClient, userId: string, sessionId: string, epoch: number) => Promise<void>;

describe.each(worlds)('in a process, %s', (_what, willow, reasons) => {
  const pages = reasons.map((reason) => `docs/quarantine/${reason}.md`);
  let before: Message | undefined;
  let found: readonly Message[];

  test('the message on each page is found with that reason', async () => {
    before = (await added(willow(), undefined)).at(-1);
    if (reasons.includes('unstorable')) await refusePoison();
    for (const page of pages) await run(documented(page, 'sh'));
    found = await added(willow(), before);
    expect(found.map(({ reason }) => reason)).toEqual(reasons);
  });

  test.each(reasons.map((reason, index) => [reason, index] as const))('%s is shown as it is', (reason, index) => {
    const { id, receivedAt, payload, ...shown } = JSON.parse(
      documented(`docs/quarantine/${reason}.md`, 'json'),
    ) as Message;
    // Of a long one the page shows the beginning.
    const isCut = payload.endsWith('0…');
    expect(found[index]).toMatchObject({
      ...shown,
      payload: isCut ? (expect.stringContaining(payload.slice(0, -1)) as string) : payload,
    });
    expect(Object.keys(found[index] ?? {}).toSorted()).toEqual(
      Object.keys({ id, receivedAt, payload, ...shown }).toSorted(),
    );
  });

  test('each mend is heard', async () => {
    const mends = pages.filter((page) => hasDocumented(page, 'sh mended'));
    for (const page of mends) await run(documented(page, 'sh mended'));
    expect(await added(willow(), found.at(-1))).toEqual([]);
  });
});

test('what there is for MQTT.js is heard, of a user whose id has whatever an id may have in it', async () => {
  const before = (await added(stage.willow, undefined)).at(-1);
  const reasons = quarantineReasons.filter((reason) => hasDocumented(`docs/quarantine/${reason}.md`, 'js'));
  expect(reasons.length).toBeGreaterThan(0);
  for (const reason of reasons) {
    const code = documented(`docs/quarantine/${reason}.md`, 'js');
    const snippet = new AsyncFunction('client', 'userId', 'sessionId', 'epoch', code) as Snippet;
    await snippet(stage.voice.client, `${reason} "100%" +/#`, 'a/b', Date.now());
  }
  expect(await added(stage.willow, before)).toEqual([]);
  for (const reason of reasons) expect(await stage.willow.events(`${reason} "100%" +/#`)).not.toEqual([]);
});
