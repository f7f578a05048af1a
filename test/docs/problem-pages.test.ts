// A page for every problem, and none for what is no problem: each says what the code says of it, and shows an answer.

import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import { problemSchemas } from '../../src/http/openapi/problem-schemas.ts';
import { type ProblemType, problemTypes } from '../../src/http/problems.ts';
import { answerOf } from '../support/problem-pages.ts';
import { missingOf } from './cited-tests.ts';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');
const types = Object.keys(problemTypes) as ProblemType[];
const sections = ['When it comes', 'An example', 'What it says', 'What to do', 'Trying again'];

test('every type of problem has a page, and no other has', () => {
  const pages = globSync('docs/problems/*.md', { cwd: root }).map((path) => basename(path, '.md'));
  expect(pages.toSorted()).toEqual(types.toSorted());
});

test('the index leads to each of them', () => {
  const links = [...read('docs/http.md').matchAll(/^\| \[`([a-z-]+)`\]\(problems\/([a-z-]+)\.md\)/gm)];
  expect(links.map(([, name]) => name)).toEqual(types);
  for (const [, name, target] of links) expect(target).toBe(name);
});

describe.each(types)('%s', (type) => {
  const page = read(`docs/problems/${type}.md`);
  const { status, title } = problemTypes[type];

  test('begins with its type, its status and its title', () => {
    expect(page).toMatch(`# urn:willow:problem:${type}\n\n\`${status}\`: ${title}.\n\n`);
    expect([...page.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)).toEqual(sections);
    for (const text of page.split(/^##? .*$/mu).slice(1)) expect(text).toMatch(/\w/u);
  });

  test('shows an answer that is this problem', () => {
    const answer = answerOf(type);
    expect(answer.status).toBe(status);
    expect(answer.headers).toMatchObject({ 'content-type': 'application/problem+json; charset=utf-8' });
    expect(answer.body).toMatchObject({ type: `urn:willow:problem:${type}`, title, status });
  });

  test('and is what the OpenAPI document says of it', () => {
    const { schema, example } = problemSchemas[type];
    const { body } = answerOf(type);
    expect(schema.strict().parse(body)).toEqual(body);
    expect(new Set(Object.keys(example as object))).toEqual(new Set(Object.keys(body as object)));
  });

  test('has a request that is sent as it stands, or names the test that does', () => {
    const cited = [...page.matchAll(/`(test\/[^`]+)`: "(.+)"/gu)].map(([, file = '', name = '']) => ({ file, name }));
    expect(missingOf(cited)).toEqual([]);
    expect(cited.length > 0).toBe(!page.includes('```sh\n'));
  });
});
