// What reads are measured against: a bare Fastify route that returns the same JSON, from memory.

import { fastify } from 'fastify';

const body = process.argv[2] ?? '{}';
const app = fastify();
app.get('/users/:id/presence', (_request, reply) => {
  void reply.header('content-type', 'application/json; charset=utf-8').send(body);
});
process.stdout.write(`${await app.listen({ host: '127.0.0.1', port: 0 })}\n`);
