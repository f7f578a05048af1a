// Real clients with a will, each a process of its own, so that they die as clients die: by SIGKILL, without a word.

import { fileURLToPath } from 'node:url';
import { type Child, startChild } from './process.ts';

export const mortalKinds = ['MQTT.js', 'Eclipse Paho Python', 'Eclipse Paho C', 'mosquitto_sub'] as const;
export type MortalKind = (typeof mortalKinds)[number];
export const protocolVersions = [4, 5] as const;
export type ProtocolVersion = (typeof protocolVersions)[number];

export type Publication = { readonly topic: string; readonly payload: string; readonly qos?: 0 | 1 };

export type MortalOptions = {
  readonly port: number;
  readonly version: ProtocolVersion;
  readonly clientId: string;
  readonly will: Publication;
  /** Published once the will stands. */
  readonly birth?: Publication;
};

export type Mortal = AsyncDisposable & { readonly die: () => Promise<void> };

/** Resolves when the broker has accepted the will, and the birth if there is one. */
export async function startMortal(kind: MortalKind, options: MortalOptions): Promise<Mortal> {
  const child = await starters[kind](options);
  return {
    die: async () => {
      await child.end('SIGKILL');
    },
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

const starters: Record<MortalKind, (options: MortalOptions) => Promise<Child>> = {
  'MQTT.js': (options) => startScript(process.execPath, new URL('./mortal-mqttjs.ts', import.meta.url), options),
  // Debian's own Python has Debian's python3-paho-mqtt.
  'Eclipse Paho Python': (options) =>
    startScript('/usr/bin/python3', new URL('./mortal-paho.py', import.meta.url), options),
  'Eclipse Paho C': startPahoC,
  mosquitto_sub: startMosquittoSub,
};

async function startScript(interpreter: string, script: URL, options: MortalOptions): Promise<Child> {
  return readyWhen(startChild(interpreter, [fileURLToPath(script), JSON.stringify(options)]), /^ready$/);
}

async function startPahoC(options: MortalOptions): Promise<Child> {
  const { port, clientId, version, will, birth } = options;
  const common = ['-h', '127.0.0.1', '-p', String(port), '-V', version === 5 ? '5' : '311'];
  const args = [...common, '-i', clientId, '-t', 'ready', '--trace', 'protocol', ...willArguments(will)];
  const child = await readyWhen(startChild('paho_c_sub', args), / <- SUBACK /);
  if (birth !== undefined) {
    const message = birth.payload === '' ? ['-n'] : ['-m', birth.payload];
    await run('paho_c_pub', [...common, '-i', `${clientId}-birth`, '-q', '1', '-t', birth.topic, ...message]);
  }
  return child;
}

async function startMosquittoSub(options: MortalOptions): Promise<Child> {
  const { port, clientId, version, will, birth } = options;
  const common = ['-h', '127.0.0.1', '-p', String(port), '-V', version === 5 ? 'mqttv5' : 'mqttv311'];
  const args = [...common, '-i', clientId, '-t', 'ready', '-d', ...willArguments(will)];
  // By itself it keeps what it prints until there is a page of it.
  const child = await readyWhen(startChild('stdbuf', ['-oL', 'mosquitto_sub', ...args]), / received SUBACK/);
  if (birth !== undefined) {
    const message = birth.payload === '' ? ['-n'] : ['-m', birth.payload];
    await run('mosquitto_pub', [...common, '-q', '1', '-t', birth.topic, ...message]);
  }
  return child;
}

/** The two families of tools agree on these. */
function willArguments({ topic, payload, qos = 1 }: Publication): string[] {
  return ['--will-topic', topic, '--will-qos', String(qos), ...(payload === '' ? [] : ['--will-payload', payload])];
}

const readyMs = 30_000;

async function readyWhen(starting: Promise<Child>, ready: RegExp): Promise<Child> {
  const child = await starting;
  try {
    await child.line((line) => ready.test(line), 'ready', readyMs);
    return child;
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const child = await startChild(command, args);
  const code = await child.exited;
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${child.lines.join('\n')}`);
}
