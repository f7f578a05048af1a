// Whatever is said to whatever route, the answer is one of ours: never a defect, never a word of the inside, never another request's.

import { afterAll, beforeAll, expect, test } from 'vitest';
import { fuzzBytes, fuzzRoutes, routesToFuzz } from '../support/fuzz-run.ts';
import { prepareWorld } from '../support/fuzz-world.ts';
import type { FuzzWorld } from '../support/route-fuzz.ts';
import { openStage, type Stage } from '../support/stage.ts';

const apiKey = 'fuzz-key-0123456789abcdef';
const runsPerRoute = 300;
let stage: Stage;
let world: FuzzWorld;

beforeAll(async () => {
  stage = await openStage({ API_KEY: apiKey, LOG_LEVEL: 'info' });
  world = await prepareWorld(stage, apiKey);
});

afterAll(() => stage[Symbol.asyncDispose]());

const failures = () =>
  stage.willow.log().filter(({ event, level }) => event === 'request.failed' || ['error', 'fatal'].includes(level));

test('every route, of the table that is served, answers whatever it is sent with what callers are promised', async () => {
  const routes = routesToFuzz();
  expect(routes.length).toBeGreaterThan(30);
  const { requests, statuses, documented } = await fuzzRoutes(stage.willow.http, routes, world, { runsPerRoute });
  expect(requests).toBeGreaterThanOrEqual(routes.length * runsPerRoute);
  // That requests were good ones too, and bad in more than one way.
  for (const status of [200, 204, 400, 401, 404, 405, 415, 422]) {
    expect(statuses.get(status), String(status)).toBeGreaterThan(0);
  }
  // And that they were held against the document, in number.
  expect(documented.size).toBeGreaterThan(3 * (routes.length / 2));
  expect(failures()).toEqual([]);
}, 240_000);

test('bytes that are no request any more are answered all the same, or the connection is closed', async () => {
  const { statuses } = await fuzzBytes(stage.willow.http, routesToFuzz(), world, 1_000);
  for (const status of [200, 400]) expect(statuses.get(status), String(status)).toBeGreaterThan(0);
  expect(failures()).toEqual([]);
}, 240_000);
