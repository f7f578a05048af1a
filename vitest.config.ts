import { defineConfig } from 'vitest/config';

// Four projects, by what they need: nothing, real parts, real parts that are broken on purpose, the documents.
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'core', include: ['test/core/**/*.test.ts'], isolate: false, testTimeout: 60_000 } },
      { test: { name: 'http', include: ['test/http/**/*.test.ts'], testTimeout: 60_000 } },
      { test: { name: 'docs', include: ['test/docs/**/*.test.ts'], testTimeout: 60_000 } },
      {
        test: {
          name: 'flow',
          include: ['test/flow/**/*.test.ts'],
          globalSetup: 'test/support/global-setup.ts',
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // They wait for each other's processes more than they compute.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'fault',
          include: ['test/fault/**/*.test.ts'],
          globalSetup: 'test/support/global-setup.ts',
          testTimeout: 240_000,
          hookTimeout: 60_000,
          // Most of what these do is wait: for a lease to run out, a server to come back.
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
