// A reader of server-sent events by the letter of WHATWG HTML §9.2, on a socket of its own that can stop reading; it keeps what an EventSource
// would dispatch, and the place to come back to.

import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { until } from './until.ts';

export type Sent<Data = unknown> = { readonly type: string; readonly id: string; readonly data: Data };

export type SseReader<Data = unknown> = AsyncDisposable & {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Of an answer that is no stream. */
  readonly body: () => string;
  /** What was dispatched without a name. */
  readonly messages: readonly Sent<Data>[];
  /** Blocks with nothing to dispatch. */
  readonly beats: () => number;
  /** Behind which the stream began, and where it is. */
  readonly firstEventId: () => string;
  readonly lastEventId: () => string;
  /** What the last word was; null while there is none. */
  readonly closing: () => { readonly reason: string; readonly [more: string]: unknown } | null;
  readonly isOver: () => boolean;
  /** Takes nothing more from the socket. */
  readonly pause: () => void;
  readonly resume: () => void;
  readonly messagesWhen: (count: number) => Promise<readonly Sent<Data>[]>;
  readonly over: () => Promise<void>;
  readonly leave: () => void;
};

export async function openSse<Data = unknown>(
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<SseReader<Data>> {
  const asked = request(url, { agent: false, headers });
  asked.on('error', () => undefined);
  asked.end();
  const [response] = (await once(asked, 'response', { signal: AbortSignal.timeout(20_000) })) as [IncomingMessage];
  const isStream = response.headers['content-type']?.startsWith('text/event-stream') === true;
  const messages: Sent<Data>[] = [];
  let [idBuffer, firstId, lastId, type, data, rest, body, beats, isOver] = ['', '', '', '', '', '', '', 0, false];
  let isDataSet = false;
  let closing: { reason: string } | null = null;
  const dispatch = (): void => {
    // Not before: of a block that is cut off its id must not count.
    lastId = idBuffer;
    firstId ||= lastId;
    if (!isDataSet) beats += 1;
    else if (type === 'closing') closing = JSON.parse(data) as { reason: string };
    else messages.push({ type, id: lastId, data: JSON.parse(data) as Data });
    [type, data, isDataSet] = ['', '', false];
  };
  const takeLine = (line: string): void => {
    if (line === '') return dispatch();
    if (line.startsWith(':')) return;
    const colon = line.indexOf(':');
    const [field, value] = colon < 0 ? [line, ''] : [line.slice(0, colon), line.slice(colon + 1).replace(/^ /u, '')];
    if (field === 'id') idBuffer = value;
    if (field === 'event') type = value;
    if (field === 'data') [data, isDataSet] = [isDataSet ? `${data}\n${value}` : value, true];
  };
  response.setEncoding('utf8');
  response.on('error', () => undefined);
  response.on('data', (chunk: string) => {
    if (!isStream) {
      body += chunk;
      return;
    }
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) takeLine(line);
  });
  response.on('close', () => {
    isOver = true;
  });
  if (!isStream) await until('the end of the answer', () => isOver);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: () => body,
    messages,
    beats: () => beats,
    firstEventId: () => firstId,
    lastEventId: () => lastId,
    closing: () => closing,
    isOver: () => isOver,
    pause: () => {
      response.pause();
      response.socket.pause();
    },
    resume: () => {
      response.socket.resume();
      response.resume();
    },
    messagesWhen: (count) => until(`${count} messages`, () => messages.length >= count && messages),
    over: async () => {
      await until('the end of the stream', () => isOver);
    },
    leave: () => asked.destroy(),
    [Symbol.asyncDispose]: async () => {
      asked.destroy();
      await until('the end of the reader', () => isOver);
    },
  };
}
