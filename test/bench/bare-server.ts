// What reads are measured against: a bare Fastify route that returns the same JSON, an object in memory.

import { fastify } from 'fastify';

const presence: unknown = JSON.parse(process.argv[2] ?? '{}');
const app = fastify();
app.get('/users/:id/presence', () => presence);
process.stdout.write(`${await app.listen({ host: '127.0.0.1', port: 0 })}\n`);
