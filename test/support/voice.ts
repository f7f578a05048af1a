// A voice on the broker: one connection over which a test says anything at all, in order, and knows when the broker has it.

import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';

export type Voice = AsyncDisposable & {
  readonly client: MqttClient;
  /** Resolves when the broker has it (QoS 1). An object is said as JSON. */
  readonly say: (topic: string, payload?: string | Uint8Array | object) => Promise<void>;
  /** How many messages it said so far. */
  readonly said: () => number;
  /** Ends without a DISCONNECT, so that the broker publishes the will. */
  readonly vanish: () => void;
};

export async function openVoice(url: string, options: IClientOptions = {}): Promise<Voice> {
  const client = await connectAsync(url, { reconnectPeriod: 0, ...options });
  // A connection that the broker takes away is what some tests are about.
  client.on('error', () => undefined);
  let said = 0;
  return {
    client,
    said: () => said,
    say: async (topic, payload = '') => {
      said += 1;
      await client.publishAsync(topic, bytesOf(payload), { qos: 1 });
    },
    vanish: () => client.stream.destroy(),
    [Symbol.asyncDispose]: () => client.endAsync(true),
  };
}

/** The options that give a connection this will. */
export function withWill(topic: string, payload: string | object): Pick<IClientOptions, 'will'> {
  return { will: { topic, payload: bytesOf(payload), qos: 1, retain: false } };
}

function bytesOf(payload: string | Uint8Array | object): Buffer {
  if (typeof payload === 'string') return Buffer.from(payload);
  return Buffer.from(payload instanceof Uint8Array ? payload : JSON.stringify(payload));
}
