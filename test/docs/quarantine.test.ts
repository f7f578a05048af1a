// docs/quarantine.md and the code agree on why a message means nothing.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { payloadBytesMax } from '../../src/core/payload.ts';
import { deviceBytesMax, quarantineReasons } from '../../src/core/signal.ts';

const page = readFileSync(new URL('../../docs/quarantine.md', import.meta.url), 'utf8');
const rows = [...page.matchAll(/^\| `([a-z0-9-]+)` *\| (.+?) *\| (.+?) *\|$/gm)];

test('every reason of the quarantine has a meaning and a remedy, and none is made up', () => {
  expect(rows.map(([, reason]) => reason)).toEqual(quarantineReasons);
  for (const [, reason, meaning, remedy] of rows) {
    expect(meaning, reason).toMatch(/\w.*\.$/);
    expect(remedy, reason).toMatch(/\w.*\.$/);
  }
});

test('the limits that it names are those of the wire', () => {
  expect(page).toContain(`More than ${payloadBytesMax / 1024} KiB`);
  expect(page).toContain(`more than ${deviceBytesMax / 1024} KiB`);
});
