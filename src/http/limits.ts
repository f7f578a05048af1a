// Every bound on what callers may ask of the API at once, and how often. What a single request may weigh and how long it may
// take to arrive stands with the sockets.

export type HttpLimits = {
  /** Connections that are open. When there are more, the one on which nothing happens gives way. */
  readonly connectionsMax: number;
  /** Requests that are being worked on: read, and not answered yet. */
  readonly requestsMax: number;
  /** What the requests that have come at once may take of the event loop before the rest of them is refused. */
  readonly turnMsMax: number;
  /** The same for those that tell how the process is doing; neither takes from the other. */
  readonly vitalTurnMsMax: number;
  /** Bodies that have come, in whole or in part, and are not parsed: beyond it the largest of those who hold most are refused. */
  readonly bodiesBytesMax: number;
  /** Larger ones are parsed in turns … */
  readonly bodyAtOnceBytesMax: number;
  /** … which end when they have taken so much of the event loop; one goes over it … */
  readonly bodiesTurnMsMax: number;
  /** … and are refused when theirs does not come in time. */
  readonly bodyWaitMsMax: number;
  /** Of one connection: pipelining beyond this is refused. */
  readonly requestsPerConnectionMax: number;
  /** Answers that are ready, and that their callers have not read: beyond it those who hold most are cut off … */
  readonly unreadBytesMax: number;
  /** … and those on one connection, before it may ask for more. */
  readonly unreadBytesPerConnectionMax: number;
  /** How long a caller may read nothing of an answer. */
  readonly unreadMsMax: number;
  /** Requests of one caller in a window. */
  readonly callerRequestsMax: number;
  readonly callerWindowMs: number;
  /** Wrong keys, of another form than those that are made here, from one address in a window. */
  readonly failuresMax: number;
  readonly failuresWindowMs: number;
  /** Before the connections are closed: for those who ask all the time to be told, with an answer, that it is the last. */
  readonly partingMs: number;
};

export const httpLimits: HttpLimits = {
  connectionsMax: 20_000,
  // At 50 µs each a tenth of a second of work: nobody waits long for the answer that there is no room.
  requestsMax: 2_000,
  turnMsMax: 100,
  vitalTurnMsMax: 200,
  // Twenty of the largest, a thousand of those that nearly all calls take.
  bodiesBytesMax: 64 * 1024 * 1024,
  // Parsed in a tenth of a millisecond.
  bodyAtOnceBytesMax: 16 * 1024,
  bodiesTurnMsMax: 10,
  bodyWaitMsMax: 5_000,
  requestsPerConnectionMax: 16,
  unreadBytesMax: 128 * 1024 * 1024,
  unreadBytesPerConnectionMax: 8 * 1024 * 1024,
  unreadMsMax: 60_000,
  // Two thirds of what one process answers: a caller may use all of it for a while, and never leaves nothing to the others.
  callerRequestsMax: 1_000_000,
  callerWindowMs: 60_000,
  // No bolt: at the ten thousands a second that a process answers, 16 random characters, 64 bits at the least, take ten million years.
  // So many that whoever tries a wrong key on every call, by mistake, is told 401 and not 429.
  failuresMax: 1_000,
  failuresWindowMs: 60_000,
  // Who asks less often than that is hardly ever just asking when his connection is closed.
  partingMs: 100,
};

/** Of all that may be open a quarter is kept for what is not HTTP: the broker, the database, receivers. */
export function connectionsMax(openFilesMax: number | null): number {
  if (openFilesMax === null) return httpLimits.connectionsMax;
  return Math.min(httpLimits.connectionsMax, Math.floor(openFilesMax * 0.75));
}
