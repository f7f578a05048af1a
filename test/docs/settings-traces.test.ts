// The settings of traces.

import { expect, test } from 'vitest';
import { parse, problemsOf } from './parse-settings.ts';

test('headers for the collector are headers of HTTP, or the start says which is none and never its value', () => {
  const headers = (text: string) => ({ OTEL_EXPORTER_OTLP_HEADERS: text });
  const name = 'OTEL_EXPORTER_OTLP_HEADERS';
  expect(parse(headers('Authorization=Bearer%20x,x-team=a%2Cb')).OTEL_EXPORTER_OTLP_HEADERS).toEqual({
    Authorization: 'Bearer x',
    'x-team': 'a,b',
  });
  for (const [text, problem] of [
    ['Authorization=Bearer%20secret%0Ay', 'that of Authorization is none'],
    ['x-team=%E2%82%ACsecret', 'that of x-team is none'],
    ['x-team=a,a:b=secret', 'and a:b is none'],
    ['x-team=secret%2', 'must be percent-encoded'],
  ] as const) {
    const problems = problemsOf(headers(text));
    expect(problems).toEqual([expect.stringContaining(problem)]);
    expect(problems[0]).toContain(name);
    expect(problems[0]).not.toContain('secret');
  }
});
