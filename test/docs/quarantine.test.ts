// docs/quarantine.md, a page for each reason, and the code agree on why a message means nothing.

import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import { payloadBytesMax } from '../../src/core/payload.ts';
import { deviceBytesMax, quarantineReasons } from '../../src/core/signal.ts';
import { documented } from '../support/documented.ts';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');
const index = read('docs/quarantine.md');
const sections = ['A message that gets it', 'Why it comes', 'The mend'];

test('every reason of the quarantine has a meaning and leads to its page, and none is made up', () => {
  const rows = [...index.matchAll(/^\| \[`([a-z0-9-]+)`\]\(quarantine\/([a-z0-9-]+)\.md\) *\| (.+?) *\|$/gm)];
  expect(rows.map(([, reason]) => reason)).toEqual(quarantineReasons);
  for (const [, reason, target, meaning] of rows) {
    expect(target).toBe(reason);
    expect(meaning, reason).toMatch(/\w.*\.$/);
  }
});

test('every reason has a page, and nothing else has', () => {
  const pages = globSync('docs/quarantine/*.md', { cwd: root }).map((path) => basename(path, '.md'));
  expect(pages.toSorted()).toEqual([...quarantineReasons].toSorted());
});

describe.each(quarantineReasons)('%s', (reason) => {
  const page = read(`docs/quarantine/${reason}.md`);

  test('begins with its name, and says what it means, why it comes and what mends it', () => {
    expect(page).toMatch(
      new RegExp(`^# ${reason}\n\nA reason of the \\[quarantine\\]\\(\\.\\./quarantine\\.md\\)\\. \\S`),
    );
    expect([...page.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)).toEqual(sections);
    for (const text of page.split(/^##? .*$/mu).slice(1)) expect(text).toMatch(/\w/u);
  });

  test('shows a message that is published as it stands, and what is kept of it', () => {
    expect(documented(`docs/quarantine/${reason}.md`, 'sh')).toContain('mosquitto_pub -q 1 ');
    expect(JSON.parse(documented(`docs/quarantine/${reason}.md`, 'json'))).toMatchObject({ reason });
  });
});

test('the limits that they name are those of the wire', () => {
  expect(index).toContain(`More than ${payloadBytesMax / 1024} KiB`);
  expect(index).toContain(`more than ${deviceBytesMax / 1024} KiB`);
  expect(read('docs/quarantine/payload-too-large.md')).toContain(`more than ${payloadBytesMax / 1024} KiB`);
  expect(read('docs/quarantine/bad-device.md')).toContain(`more than ${deviceBytesMax / 1024} KiB`);
});
