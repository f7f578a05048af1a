// The entity tag of a presence tells exactly whether what is shown has changed, whatever has become of the user meanwhile.

import { expect, test } from 'vitest';
import { UserId } from '../../src/core/ids.ts';
import { presenceTag } from '../../src/http/etag.ts';
import { presenceBody } from '../../src/http/render.ts';
import { openPool } from '../../src/store/database.ts';
import { eraseUser } from '../../src/store/erase.ts';
import { createPresenceReader } from '../../src/store/presence-reader.ts';
import { createDatabase } from '../support/database.ts';
import { anySignal, live } from '../support/lives.ts';
import { chanceOf } from '../support/storm.ts';

const steps = 1_500;
const startMs = Date.parse('2026-11-23T10:00:00.000Z');

/** What is done to the link: it goes down, it comes up, a packet is heard, the broker comes back without our session. */
const linkChanges = [
  `update links set connected_since = null`,
  `update links set connected_since = now()`,
  `update links set connected_since = now()`,
  `update links set heard_at = to_timestamp($1::float8 / 1000)`,
  `update links set gap_at = to_timestamp($1::float8 / 1000)`,
];

test('the tag is another one whenever anything but asOf is, and the same while nobody writes and nothing else is', async () => {
  await using database = await createDatabase();
  const pool = openPool(database.url, { connectionsMax: 2, statementMsMax: 30_000, onError: () => undefined });
  try {
    await pool.query(`insert into links (client_id, token, holder, lease_until, connected_since)
      values ('willow', 1, 'somebody', 'infinity', now())`);
    const chance = chanceOf('the tag of a presence');
    const userIds = ['ann', 'bob', 'never-seen'].map((id) => UserId.parse(id));
    const read = createPresenceReader(pool, { clientId: 'willow', sharedGroup: null });
    const shownBy = new Map<string, string>();
    const last = new Map<UserId, { readonly tag: string; readonly shown: string; readonly revision: number }>();
    const met = { same: 0, other: 0, known: 0 };
    let nowMs = startMs;
    for (let step = 0; step < steps; step += 1) {
      nowMs += chance.pick([0, 0, 1, 5, 30, 60]);
      const userId = chance.pick(userIds.slice(0, 2));
      if (chance.isIn(0.2)) {
        const change = chance.pick(linkChanges);
        await pool.query(change, change.includes('$1') ? [nowMs] : []);
      } else if (chance.isIn(0.05)) await eraseUser(pool, userId, 'loopback');
      else await live(pool, [anySignal(chance, userId)], nowMs);
      for (const presence of await Promise.all(userIds.map(read))) {
        const { asOf: _asOf, ...body } = presenceBody(presence);
        const seen = { tag: presenceTag(presence), shown: JSON.stringify(body), revision: presence.revision };
        const key = `${presence.userId} ${seen.tag}`;
        expect(seen.shown, key).toBe(shownBy.get(key) ?? seen.shown);
        if (shownBy.has(key)) met.known += 1;
        shownBy.set(key, seen.shown);
        const before = last.get(presence.userId);
        last.set(presence.userId, seen);
        if (before?.shown === seen.shown && before.revision === seen.revision) {
          expect(seen.tag).toBe(before.tag);
          met.same += 1;
        } else if (before?.shown !== seen.shown) met.other += 1;
      }
    }
    // It has met what it is about.
    expect(met.same).toBeGreaterThan(steps / 5);
    expect(met.other).toBeGreaterThan(steps / 5);
    expect(met.known).toBeGreaterThan(met.same);
  } finally {
    await pool.end();
  }
});
