// How the tests call the routes of webhooks, and what they look for in the answer.

import { expect } from 'vitest';
import type { NewWebhook } from '../../src/http/webhook-bodies.ts';
import { hooks } from './hook.ts';
import { type Answer, expectProblem, type ProblemBody, type Served } from './serve.ts';

const json = { 'content-type': 'application/json' };

export function send(served: Served, method: string, path: string, body?: unknown): Promise<Answer> {
  return served.call({ method, path, headers: json, ...(body !== undefined && { body: JSON.stringify(body) }) });
}

/** Ports that remember what they were asked, and never that of a refused request. */
export function remembering() {
  const asked: unknown[] = [];
  const webhooks: typeof hooks = {
    ...hooks,
    create: async (wanted, caller) => {
      asked.push(wanted);
      return hooks.create(wanted, caller);
    },
    change: async (id, changes, caller) => {
      asked.push([id, changes]);
      return hooks.change(id, changes, caller);
    },
    replay: async (id, from, caller) => {
      asked.push([id, from]);
      return hooks.replay(id, from, caller);
    },
    retryParked: async (id, parkedId) => {
      asked.push([id, parkedId]);
      return parkedId === 4 ? 0 : 1;
    },
    removeParked: async (id, parkedId) => {
      asked.push([id, parkedId]);
      return parkedId !== 4;
    },
    listAttempts: async (id, outcome) => {
      asked.push([id, outcome]);
      return [];
    },
  };
  return { asked, webhooks };
}

export const wanted: NewWebhook = {
  url: 'https://example.com/hook',
  description: null,
  events: null,
  lanes: 8,
  maxBatch: 1,
  after: null,
  enabled: true,
};

export function expectField(answer: Answer, name: string): ProblemBody {
  const problem = expectProblem(answer, 422, 'bad-body');
  expect(problem.errors?.map((error) => [error.in, error.name])).toEqual([['body', name]]);
  expect(problem.errors?.[0]?.detail.length).toBeGreaterThan(5);
  expect(problem.detail).toContain(name === '' ? 'the body ' : `the field ${name} `);
  return problem;
}
