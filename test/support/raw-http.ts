// An HTTP client that says any bytes, reads what comes back by the letter of RFC 9112, and notices an answer that nobody asked for.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const waitMsMax = 20_000;

export type RawAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** The server says that it will close, or has closed, the connection. */
  readonly isLast: boolean;
};

export class RawHttp implements Disposable {
  readonly #port: number;
  #socket: Socket | null = null;
  #bytes = Buffer.alloc(0);
  #isOver = false;
  #wake: () => void = () => undefined;

  constructor(port: number) {
    this.#port = port;
  }

  [Symbol.dispose](): void {
    this.#socket?.destroy();
    this.#socket = null;
  }

  /** Sends one request, and reads its answer; null when the connection ends without one. */
  async exchange(request: Buffer, { isHead, isHalfClosed = false }: { isHead: boolean; isHalfClosed?: boolean }) {
    const socket = this.#socket ?? (await this.#open());
    if (isHalfClosed) socket.end(request);
    else socket.write(request);
    const answer = await this.#answer(isHead);
    if (answer === null || answer.isLast || isHalfClosed) this[Symbol.dispose]();
    else if (this.#bytes.length > 0) throw new Error(`bytes behind an answer: ${this.#bytes.toString('latin1')}`);
    return answer;
  }

  async #open(): Promise<Socket> {
    const socket = connect(this.#port, '127.0.0.1');
    this.#socket = socket;
    this.#bytes = Buffer.alloc(0);
    this.#isOver = false;
    socket.on('data', (chunk) => {
      if (this.#socket !== socket) return;
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      if (this.#socket !== socket) return;
      this.#isOver = true;
      this.#wake();
    });
    await once(socket, 'connect');
    return socket;
  }

  async #answer(isHead: boolean): Promise<RawAnswer | null> {
    for (;;) {
      const head = await this.#until((bytes) => {
        const end = bytes.indexOf('\r\n\r\n');
        return end < 0 ? null : end + 4;
      });
      if (head === null) return null;
      const [statusLine = '', ...lines] = head.toString('latin1').trimEnd().split('\r\n');
      const status = Number(/^HTTP\/1\.1 (\d{3}) /u.exec(statusLine)?.[1] ?? Number.NaN);
      if (Number.isNaN(status)) throw new Error(`not the head of an answer: ${head.toString('latin1')}`);
      if (status < 200) continue;
      const headers = Object.fromEntries(
        lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
      );
      // It has no end: its head is the answer.
      if (headers['content-type']?.startsWith('text/event-stream') === true) {
        return { status, headers, body: '', isLast: true };
      }
      const hasBody = !isHead && status !== 204 && status !== 304;
      const body = hasBody ? await this.#body(headers) : '';
      return { status, headers, body, isLast: headers['connection'] === 'close' };
    }
  }

  async #body(headers: Readonly<Record<string, string>>): Promise<string> {
    const length = headers['content-length'];
    if (length === undefined) throw new Error(`an answer without a length: ${JSON.stringify(headers)}`);
    const body = await this.#until((bytes) => (bytes.length < Number(length) ? null : Number(length)));
    if (body === null) throw new Error('an answer that was cut off');
    return body.toString('utf8');
  }

  /** Takes so many bytes as `find` says, once it does; null when the connection ends before. */
  async #until(find: (bytes: Buffer) => number | null): Promise<Buffer | null> {
    const timer = setTimeout(() => {
      this.#isOver = true;
      this.#wake();
    }, waitMsMax);
    try {
      for (;;) {
        const end = find(this.#bytes);
        if (end !== null) {
          const found = this.#bytes.subarray(0, end);
          this.#bytes = this.#bytes.subarray(end);
          return found;
        }
        if (this.#isOver) return null;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
    }
  }
}
