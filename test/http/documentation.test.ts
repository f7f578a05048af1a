// The document and the page that shows it are open, and the page can reach nothing but this process.

import { expect, test } from 'vitest';
import { Contract, readDocument } from '../support/contract.ts';
import { expectProblem, serve } from './serve.ts';

const paths = ['/openapi.json', '/docs', '/docs/scalar.js'];

test('the document and its page need no key', async () => {
  await using served = await serve({ apiKey: 'documents-0123456789' });
  const answers = await Promise.all(paths.map((path) => served.call({ path })));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  expect(answers.map(({ headers }) => headers['content-type'])).toEqual([
    'application/json; charset=utf-8',
    'text/html; charset=utf-8',
    'text/javascript; charset=utf-8',
  ]);
  expect(JSON.parse(answers[0]?.body ?? '')).toMatchObject({ openapi: '3.1.0' });
  const contract = new Contract(await readDocument());
  for (const [index, { status, headers, body }] of answers.entries()) {
    const sent = headers as Readonly<Record<string, string>>;
    const seen = { status, headers: sent, contentType: sent['content-type'], body };
    expect(contract.complaint('GET', paths[index] ?? '', seen)).toBeNull();
  }
});

test('the page asks nothing of anybody else: no address in it leads elsewhere, and its policy would refuse one', async () => {
  await using served = await serve();
  const { headers, body } = await served.call({ path: '/docs' });
  const policy = String(headers['content-security-policy']).split('; ');
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("script-src 'self'");
  const sources = policy.flatMap((directive) => directive.split(' ').slice(1));
  expect(new Set(sources)).toEqual(new Set(["'none'", "'self'", "'unsafe-inline'", 'data:']));
  expect(policy.filter((directive) => directive.includes("'unsafe-inline'"))).toEqual([
    "style-src 'self' 'unsafe-inline'",
  ]);
  expect(body).not.toMatch(/\/\/|https?:/);
  expect([...body.matchAll(/ (?:src|data-url)="([^"]*)"/g)].map(([, url]) => url)).toEqual([
    '/openapi.json',
    '/docs/scalar.js',
  ]);
});

test('a process without the API has no document of it', async () => {
  await using served = await serve({ hasApi: false });
  for (const path of paths) expectProblem(await served.call({ path }), 404, 'not-found');
});
