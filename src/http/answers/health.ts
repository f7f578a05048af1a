// What the calls of whoever runs the process answer, and what the documents say of them.

import { z } from 'zod';
import { named, type Operation } from '../openapi/operation.ts';

export const Alive = z.object({ status: z.literal('ok').describe('It answers.') }).register(named, { id: 'Alive' });

const Check = z.looseObject({ ok: z.boolean().describe('Whether it is well.') }).register(named, { id: 'Check' });
export const Ready = z
  .object({
    status: z.literal('ready').describe('Every check is well.'),
    checks: z.record(z.string(), Check).describe('What was checked, by its name.'),
  })
  .register(named, { id: 'Ready' });

const Metrics = z.string().describe("Counters, in Prometheus' text format.").register(named, { id: 'Metrics' });

export const getHealth: Operation = {
  id: 'getHealth',
  tag: 'operation',
  summary: 'The process is alive',
  description: 'It answers; whether it is of use is another question.',
  answers: { 200: { description: 'It is.', schema: Alive, example: { status: 'ok' } } },
};

export const getReadiness: Operation = {
  id: 'getReadiness',
  tag: 'operation',
  summary: 'The process is of use',
  description:
    'Its database answers, its link to the broker is up or another process has it, and its loops have succeeded lately.',
  answers: {
    200: {
      description: 'Every check is well.',
      schema: Ready,
      example: { status: 'ready', checks: { database: { ok: true } } } satisfies z.input<typeof Ready>,
    },
  },
  problems: ['not-ready'],
};

export const getMetrics: Operation = {
  id: 'getMetrics',
  tag: 'operation',
  summary: 'Counters, for Prometheus',
  description: 'In the text format of Prometheus.',
  answers: {
    200: { description: 'The counters.', schema: Metrics, contentType: 'text/plain', example: 'willow_link_up 1\n' },
  },
};
