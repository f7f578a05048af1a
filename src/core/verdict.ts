// What becomes of a delivery after an attempt, decided once: what an answer means (`attemptOf`), and what follows from it
// (`verdict`). An outage keeps the event, whatever it takes; only what the receiver's application itself refuses, or what
// fails while its other events succeed, is parked for a person. Nobody else looks at a status.

/** One HTTP request of a delivery, as far as it came. */
export type Attempt =
  | { readonly kind: 'delivered'; readonly status: number }
  | { readonly kind: 'refused'; readonly status: RefusalStatus }
  | { readonly kind: 'gone'; readonly status: 410 }
  | {
      readonly kind: 'failed';
      readonly why: 'status';
      readonly status: number;
      readonly retryAfterMs: number | null;
    }
  | { readonly kind: 'failed'; readonly why: NoAnswer; readonly status: null; readonly retryAfterMs: null };

export type NoAnswer = 'timeout' | 'connection' | 'tls' | 'blocked';

const refusalStatuses = [400, 413, 422] as const;
type RefusalStatus = (typeof refusalStatuses)[number];

/** The delivery in hand: an event, or a batch of them. */
export type DeliveryInHand = {
  /** Tries of this delivery that failed or were refused before this one. */
  readonly attempts: number;
  /** Those that were refused. */
  readonly refusals: number;
  readonly firstFailedAtMs: number | null;
  readonly eventCount: number;
  /** Its lane is of an old division, and comes to its end: the others of its endpoint wait for it. */
  readonly isDraining: boolean;
};

export type EndpointHealth = {
  /** Of the first failure since the last success, over all lanes. */
  readonly failingSinceMs: number | null;
  readonly lastSuccessAtMs: number | null;
  /** Lanes whose delivery in hand has failed and not been taken since, this one included. */
  readonly failingLanes: number;
};

export type Verdict =
  | { readonly kind: 'done' }
  | { readonly kind: 'retry'; readonly atMs: number }
  | { readonly kind: 'park'; readonly because: 'refused' | 'failed-for-a-day' }
  /** The events of a batch are sent again one by one, at once. */
  | { readonly kind: 'split' }
  | { readonly kind: 'disable'; readonly because: 'gone' | 'failing' };

/** The wait after the first failure, the second …; the last one repeats. */
export const retryScheduleMs = [5_000, 30_000, 120_000, 300_000] as const;
export const refusedTriesMax = 3;
const dayMs = 86_400_000;
export const failingEventMsMax = dayMs;
export const failingEndpointMsMax = 5 * dayMs;
/** A success as old as this says that the endpoint worked, not that it works. Tries are at most 10 minutes apart. */
const successMsMax = 3_600_000;
/** How long an event may still fail when its endpoint works again after a while. Less than `successMsMax`: one success is enough to park it. */
const recoveryMsMax = 2_700_000;

/** What an answer means. `retryAfterMs` is what the answer asked for. */
export function attemptOf(status: number, retryAfterMs: number | null): Attempt {
  if (status >= 200 && status <= 299) return { kind: 'delivered', status };
  if (status === 410) return { kind: 'gone', status };
  const refusal = refusalStatuses.find((known) => known === status);
  if (refusal !== undefined) return { kind: 'refused', status: refusal };
  return { kind: 'failed', why: 'status', status, retryAfterMs };
}

/**
 * What an attempt says of its endpoint: whether `failing` ends (`works`), or begins unless it has (`fails`). A refusal is an
 * answer of the receiver's application about one event: it proves neither that the endpoint takes events nor that it is
 * away, so it neither ends nor begins anything.
 */
export function evidenceOf(attempt: Attempt): 'works' | 'fails' | 'neither' {
  switch (attempt.kind) {
    case 'delivered':
      return 'works';
    case 'failed':
      return 'fails';
    case 'refused':
    case 'gone':
      return 'neither';
  }
}

/** `random` is a number in [0, 1); `delivery` and `endpoint` are as they were before this attempt. */
export function verdict(
  attempt: Attempt,
  delivery: DeliveryInHand,
  endpoint: EndpointHealth,
  nowMs: number,
  random: number,
): Verdict {
  switch (attempt.kind) {
    case 'delivered':
      return { kind: 'done' };
    case 'gone':
      return { kind: 'disable', because: 'gone' };
    case 'refused':
      if (delivery.eventCount > 1) return { kind: 'split' };
      if (delivery.refusals + 1 >= refusedTriesMax) return { kind: 'park', because: 'refused' };
      return { kind: 'retry', atMs: nowMs + waitMs(delivery.attempts, null, random) };
    case 'failed':
      // Not for a single failure after days on which nothing was tried.
      if (
        delivery.attempts >= retryScheduleMs.length &&
        hasFailedFor(failingEndpointMsMax, endpoint.failingSinceMs, nowMs)
      ) {
        return { kind: 'disable', because: 'failing' };
      }
      if (failsAlone(delivery, endpoint, nowMs)) {
        return delivery.eventCount > 1 ? { kind: 'split' } : { kind: 'park', because: 'failed-for-a-day' };
      }
      return { kind: 'retry', atMs: nowMs + waitMs(delivery.attempts, attempt.retryAfterMs, random) };
  }
}

/** This event has failed for a day, and that is its own fault. */
function failsAlone(delivery: DeliveryInHand, endpoint: EndpointHealth, nowMs: number): boolean {
  return othersSucceed(delivery, endpoint, nowMs) && hasFailedFor(failingEventMsMax, delivery.firstFailedAtMs, nowMs);
}

/**
 * Whether an event that fails is to blame for it. That another one succeeded after it first failed would not be enough: the last success
 * before an outage may be younger than an event's first failure. So a success must be recent. Only while the others wait for the end of this
 * lane can none be; then that older success is enough, unless another lane fails too: in an outage all do that have something to send.
 */
function othersSucceed(
  { firstFailedAtMs, isDraining }: Pick<DeliveryInHand, 'firstFailedAtMs' | 'isDraining'>,
  endpoint: EndpointHealth,
  nowMs: number,
): boolean {
  if (works(endpoint, nowMs)) return true;
  const { lastSuccessAtMs, failingLanes } = endpoint;
  const hasWorked = firstFailedAtMs !== null && lastSuccessAtMs !== null && lastSuccessAtMs > firstFailedAtMs;
  return isDraining && hasWorked && failingLanes <= 1;
}

/**
 * Since when an event that has failed once more counts as failing. The days on which nothing succeeds are not its own: when its endpoint
 * works again, and takes some time to recover, it is not parked at the first failure that meets a success of others.
 */
export function failingSinceMs(
  delivery: Pick<DeliveryInHand, 'firstFailedAtMs' | 'isDraining'>,
  endpoint: EndpointHealth,
  nowMs: number,
): number {
  const sinceMs = delivery.firstFailedAtMs ?? nowMs;
  const isItsOwn = othersSucceed(delivery, endpoint, nowMs);
  return isItsOwn ? sinceMs : Math.max(sinceMs, nowMs - failingEventMsMax + recoveryMsMax);
}

function works({ lastSuccessAtMs }: EndpointHealth, nowMs: number): boolean {
  return lastSuccessAtMs !== null && lastSuccessAtMs > nowMs - successMsMax;
}

function hasFailedFor(ms: number, sinceMs: number | null, nowMs: number): boolean {
  return sinceMs !== null && sinceMs <= nowMs - ms;
}

/** The schedule ±20 %, so that what failed together does not return together; longer if asked, up to twice the schedule. */
function waitMs(failuresBefore: number, retryAfterMs: number | null, random: number): number {
  const scheduledMs = retryScheduleMs[Math.min(failuresBefore, retryScheduleMs.length - 1)] ?? retryScheduleMs[3];
  const jitteredMs = Math.round(scheduledMs * (0.8 + 0.4 * random));
  return Math.max(jitteredMs, Math.min(retryAfterMs ?? 0, 2 * scheduledMs));
}
