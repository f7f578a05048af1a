// The answers that the pages of the problems show, read as an HTTP client reads answers.

import { documented } from './documented.ts';

export type ShownAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
};

/** The answer on the page of a problem. */
export function answerOf(type: string): ShownAnswer {
  return answerIn(documented(`docs/problems/${type}.md`, 'http'));
}

/** The last answer in what `curl -i` shows. */
export function answerIn(text: string): ShownAnswer {
  const lines = text.replaceAll('\r\n', '\n');
  const begin = lines.lastIndexOf('HTTP/1.1 ');
  const end = lines.indexOf('\n\n', begin);
  const [statusLine = '', ...headers] = lines.slice(begin, end).split('\n');
  return {
    status: Number(statusLine.split(' ')[1]),
    headers: Object.fromEntries(headers.map(headerOf)),
    body: JSON.parse(lines.slice(end)) as unknown,
  };
}

/** What is said of this problem, and not of every answer. */
export function ownHeaders(
  headers: Readonly<Record<string, unknown>>,
  common: Readonly<Record<string, string>>,
): Readonly<Record<string, unknown>> {
  const others = new Set([...Object.keys(common), 'date', 'keep-alive', 'content-length', 'ratelimit']);
  const own = Object.entries(headers).filter(
    ([name, value]) => !others.has(name) && !(name === 'connection' && value === 'keep-alive'),
  );
  return Object.fromEntries(own);
}

function headerOf(line: string): [name: string, value: string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
}
