// How long an answer asks to be left alone: `Retry-After`, in both of its forms. Nonsense is no wish at all.

/** A year: longer is nonsense, and what is honoured is a matter of minutes. */
const secondsMax = 31_536_000;
/** The one date form that is sent today: `Sun, 06 Nov 1994 08:49:37 GMT`. */
const httpDate = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/u;

/** In milliseconds from now; null when there is no header, or none that makes sense. */
export function retryAfterOf(header: string | null, nowMs: number): number | null {
  const text = header?.trim() ?? '';
  const ms = /^\d{1,10}$/u.test(text)
    ? Number(text) * 1_000
    : httpDate.test(text)
      ? Date.parse(text) - nowMs
      : Number.NaN;
  return ms >= 0 && ms <= secondsMax * 1_000 ? Math.round(ms) : null;
}
