// An MQTT.js client until it is killed. Its one argument is MortalOptions as JSON; it prints `ready`.

import { connectAsync } from 'mqtt';
import type { MortalOptions, Publication } from './mortal.ts';

const options = JSON.parse(process.argv[2] ?? '') as MortalOptions;
const { port, version, clientId, will, birth } = options;

const publish = ({ topic, payload, qos = 1 }: Publication) => client.publishAsync(topic, payload, { qos });

const client = await connectAsync(`mqtt://127.0.0.1:${port}`, {
  protocolVersion: version,
  clientId,
  reconnectPeriod: 0,
  will: { topic: will.topic, payload: Buffer.from(will.payload), qos: will.qos ?? 1, retain: false },
});
if (birth !== undefined) await publish(birth);
process.stdout.write('ready\n');
