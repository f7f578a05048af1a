// Times as ISO 8601 UTC: what `Date.prototype.toISOString` says, at a fifth of its price.

const dayMs = 86_400_000;
const daysMax = 1_024;
/** '2026-11-23T' of each day since 1970 that was asked for lately. */
const dates = new Map<number, string>();
const twoDigits = Array.from({ length: 60 }, (_, n) => String(n).padStart(2, '0'));
const threeDigits = Array.from({ length: 1_000 }, (_, n) => String(n).padStart(3, '0'));

export function isoTime(ms: number): string {
  const day = Math.floor(ms / dayMs);
  const inDay = ms - day * dayMs;
  const seconds = Math.floor(inDay / 1_000);
  const minutes = Math.floor(seconds / 60);
  const hh = twoDigits[Math.floor(minutes / 60)];
  return `${dateOf(day)}${hh}:${twoDigits[minutes % 60]}:${twoDigits[seconds % 60]}.${threeDigits[inDay % 1_000]}Z`;
}

function dateOf(day: number): string {
  const known = dates.get(day);
  if (known !== undefined) return known;
  const time = new Date(day * dayMs).toISOString();
  const date = time.slice(0, time.indexOf('T') + 1);
  if (dates.size >= daysMax) dates.clear();
  dates.set(day, date);
  return date;
}
