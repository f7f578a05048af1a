// The entity tag of a presence: of all that is shown but `asOf`, which moves with every packet from the broker. It is made of what tells one
// state from every other, not of the body: on the most read route a digest is felt. A write that shows nothing may change it; what is
// shown never changes without it. A database that went back (a backup, a replica that had not got all) counts revisions anew: the times and
// the sequence tell what is written then from what was.

export type Tagged = {
  /**
   * Grows with every write of the user, his sessions included; 0 for a user who was never heard of. One who was erased and comes again
   * begins at another.
   */
  readonly revision: number;
  readonly sequence: number;
  readonly sinceMs: number | null;
  readonly lastSeenAtMs: number | null;
  readonly isStale: boolean;
};

/** Another one whenever presence is rendered differently. */
const rendering = 2;

export function presenceTag({ revision, sequence, sinceMs, lastSeenAtMs, isStale }: Tagged): string {
  const written = `${short(revision)}-${short(sequence)}-${short(sinceMs ?? 0)}-${short(lastSeenAtMs ?? 0)}`;
  return `W/"${rendering}-${written}${isStale ? '-stale' : ''}"`;
}

function short(number: number): string {
  return number.toString(36);
}

const entityTag = /(?:W\/)?("[\x21\x23-\x7e\x80-\xff]*")/gu;

/** Whether a caller who sends this If-None-Match has it: RFC 9110 §13.1.2, by weak comparison (§8.8.3.2). */
export function isKnown(ifNoneMatch: string | undefined, tag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  if (ifNoneMatch.trim() === '*') return true;
  const opaque = tag.slice(tag.indexOf('"'));
  return ifNoneMatch.matchAll(entityTag).some(([, known]) => known === opaque);
}
