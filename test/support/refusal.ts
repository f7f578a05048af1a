// A Willow that cannot start: what it said besides its log, and how it ended.

import { startChild } from './process.ts';
import { secretKey } from './willow.ts';

export type Refusal = { readonly code: number | null; readonly said: readonly string[] };

export async function refusalOf(environment: Readonly<Record<string, string>>): Promise<Refusal> {
  const { PATH, HOME } = process.env;
  const ports = { HTTP_PORT: '0', EMBEDDED_MQTT_PORT: '0' };
  const env = { PATH, HOME, ...ports, SECRET_KEY: secretKey, LOG_LEVEL: 'silent', ...environment };
  await using child = await startChild(process.execPath, ['src/main.ts'], { env });
  const code = await child.exited;
  return { code, said: child.lines };
}
