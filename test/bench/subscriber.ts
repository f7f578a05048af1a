// The subscribers that Willow is measured against, each a process of its own: `subscriber.ts <variant> <broker> <database> <messages>`.
//
//   ceiling    acknowledges at once and stores nothing: what MQTT.js and the broker can do at all
//   usual      the usual hand-written way: on('message') with a Prisma update that nobody awaits (acknowledged before it is stored)
//   durable    the same made durable with the documented means: handleMessage, one message at a time
//
// It prints when it was connected and when the last message was done, in ms of the wall clock.

import { PrismaPg } from '@prisma/adapter-pg';
import mqtt from 'mqtt';
import { PrismaClient } from '../../src/generated/prisma/client.ts';

const [variant, brokerUrl = '', databaseUrl = '', count = ''] = process.argv.slice(2);
const total = Number(count);
const prisma = new PrismaClient({ adapter: new PrismaPg({ connectionString: databaseUrl, max: 10 }) });
let done = 0;
let connectedAtMs = 0;
const finished = Promise.withResolvers<void>();

function finishOne(): void {
  done += 1;
  if (done === total) finished.resolve();
}

async function store(topic: string, payload: Buffer): Promise<void> {
  const { userId } = JSON.parse(payload.toString()) as { userId: string };
  const now = new Date();
  const data = topic === '/login' ? { since: now, lastSeenAt: now } : { since: now, lastEndedAt: now };
  await prisma.user.update({ where: { userId }, data });
}

const client = mqtt.connect(brokerUrl, {
  clientId: `bench-${variant}`,
  clean: false,
  protocolVersion: 5,
  properties: { sessionExpiryInterval: 3600, receiveMaximum: 1000 },
  reconnectPeriod: 0,
  manualConnect: true,
});
client.on('connect', () => {
  connectedAtMs = Date.now();
});
if (variant === 'ceiling') {
  client.on('message', finishOne);
} else if (variant === 'usual') {
  client.on('message', (topic, payload) => {
    void store(topic, payload).then(finishOne);
  });
} else {
  client.handleMessage = ({ topic, payload }, callback) => {
    const goOn = () => {
      callback();
      finishOne();
    };
    void store(topic, payload as Buffer).then(goOn);
  };
}
await prisma.$connect();
client.connect();
await finished.promise;
process.stdout.write(`${JSON.stringify({ connectedAtMs, doneAtMs: Date.now() })}\n`);
await client.endAsync();
await prisma.$disconnect();
