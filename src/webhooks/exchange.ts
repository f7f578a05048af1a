// One request over an undici dispatcher, in bounded time and memory, whatever comes back. A status that has arrived is the
// answer, whatever becomes of the body behind it.

import type { Dispatcher } from 'undici';
import { AnswerTimeoutError } from './outcome.ts';

export const answerBytesMax = 8_192;

export type Answer = { readonly status: number; readonly retryAfter: string | null; readonly body: string | null };

/** What was answered, or the error that came instead. A connection whose answer was not read to its end is closed. */
export function exchange(
  dispatcher: Dispatcher,
  request: Dispatcher.DispatchOptions,
  answerMs: number,
  signal: AbortSignal,
): Promise<Answer | Error> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Answer | Error>();
  const cut = new Error('the rest of this answer is not read');
  let controller: Dispatcher.DispatchController | null = null;
  let isOver = false;
  let head: Omit<Answer, 'body'> | null = null;
  const body = new FirstBytes(answerBytesMax);

  const end = (error: Error | null) => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
    if (signal.aborted) reject(signal.reason);
    else if (head !== null) resolve({ ...head, body: textOf(body.take()) });
    else resolve(error ?? cut);
  };
  const endAndClose = (error: Error | null) => {
    end(error);
    controller?.abort(cut);
  };
  const abort = () => endAndClose(null);
  const timer = setTimeout(() => endAndClose(new AnswerTimeoutError(`no answer in ${answerMs} ms`)), answerMs);
  signal.addEventListener('abort', abort, { once: true });

  dispatcher.dispatch(request, {
    onRequestStart(started) {
      controller = started;
      if (isOver) started.abort(cut);
    },
    onResponseStart(_controller, status, headers) {
      // Informational answers may come before the real one, without end: only the clock stops them.
      if (status < 200) return;
      const retryAfter = headers['retry-after'];
      head = { status, retryAfter: typeof retryAfter === 'string' ? retryAfter : null };
    },
    onResponseData(_controller, chunk) {
      if (!isOver && body.add(chunk) === 'full') endAndClose(null);
    },
    onResponseEnd: () => end(null),
    onResponseError: (_controller, error) => end(error),
  });
  return promise;
}

class FirstBytes {
  readonly #bytesMax: number;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  add(chunk: Buffer): 'full' | 'open' {
    // A copy: what is kept of a chunk would otherwise keep all of it.
    const kept = Buffer.from(chunk.subarray(0, this.#bytesMax - this.#bytes));
    this.#chunks.push(kept);
    this.#bytes += kept.length;
    return this.#bytes >= this.#bytesMax ? 'full' : 'open';
  }

  take(): Buffer {
    return Buffer.concat(this.#chunks);
  }
}

/** Storable text: no U+0000, and 8 KiB at most although every byte that is not UTF-8 becomes three. */
function textOf(body: Buffer): string | null {
  if (body.length === 0) return null;
  const text = new TextDecoder().decode(body, { stream: true }).replaceAll('\u0000', '\ufffd');
  return new TextDecoder().decode(Buffer.from(text).subarray(0, answerBytesMax), { stream: true });
}
