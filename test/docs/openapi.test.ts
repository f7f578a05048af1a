// docs/openapi.json is what GET /openapi.json answers, and says all there is to say of every route.

import { globSync, readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { openApiPath, openApiText } from '../../docs/openapi.ts';
import { commonHeaders, problemTypes } from '../../src/http/problems.ts';
import { Contract, type Document, nameIn, type Operation, readDocument } from '../support/contract.ts';
import { allRoutes } from '../support/route-table.ts';
import { namesOf } from '../support/schema-arbitrary.ts';

const routes = allRoutes().filter(({ method }) => method !== 'HEAD');
const pathOf = (url: string) => url.replaceAll(/:(\w+)/gu, '{$1}');

let document: Document;
beforeAll(async () => {
  document = await readDocument();
});

const operationsOf = ({ paths }: Document) =>
  Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );

function operationOf({ method, url }: { readonly method: string; readonly url: string }): Operation {
  const operation = document.paths[pathOf(url)]?.[method.toLowerCase()];
  if (operation === undefined) throw new Error(`${method} ${url} is not documented`);
  return operation;
}

test('the document in the repository is the one that is served: `npm run docs` writes it', async () => {
  expect(readFileSync(openApiPath, 'utf8')).toBe(await openApiText());
});

test('it has the version of the package', () => {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  expect(document.info.version).toBe((JSON.parse(text) as { version: string }).version);
});

test('every route is documented, with the scope that it needs, and none is made up', () => {
  const served = routes.map(({ method, url, scope }) => `${method} ${pathOf(url)} ${scope}`);
  const documented = operationsOf(document).map(({ path, method, operation }) => {
    const [{ bearer = ['open'] } = {}] = operation.security;
    return `${method.toUpperCase()} ${path} ${bearer.join(' ')}`;
  });
  expect(documented.toSorted()).toEqual(served.toSorted());
});

/** For whoever runs the process, and for browsers: probes add what they like to a URL. */
const lenient = ['/healthz', '/readyz', '/metrics', '/openapi.json', '/docs', '/docs/scalar.js'];

test('every call of the API says which query it takes, be it none: what it does not know is refused, and documented as refused', () => {
  expect(
    routes
      .filter(({ schema }) => schema.querystring === undefined)
      .map(({ url }) => url)
      .toSorted(),
  ).toEqual(lenient.toSorted());
  for (const route of routes.filter(({ url }) => !lenient.includes(url))) {
    const { $ref = '' } = operationOf(route).responses['400'] as { readonly $ref?: string };
    expect(nameIn($ref), route.url).toContain('BadInput');
  }
});

test('no route is serialised by what the documents say of it', () => {
  expect(routes.filter(({ schema }) => 'response' in schema)).toEqual([]);
});

test('every operation has a name of its own, for the functions of a client', () => {
  const names = operationsOf(document).map(({ operation }) => operation.operationId);
  expect(names.filter((name) => !/^[a-z]+(?:[A-Z][a-z]+)*$/.test(name))).toEqual([]);
  expect(new Set(names).size).toBe(names.length);
});

const places = { params: 'path', querystring: 'query', headers: 'header' } as const;

test.each(routes.map((route) => [`${route.method} ${route.url}`, route] as const))(
  'every parameter and field that %s takes is documented, with a sentence',
  (_name, route) => {
    const { parameters = [], requestBody } = operationOf(route);
    for (const [part, place] of Object.entries(places)) {
      const schema = route.schema[part as keyof typeof places];
      const names = parameters.filter((parameter) => parameter.in === place).map(({ name }) => name);
      expect(names).toEqual(schema === undefined ? [] : namesOf(schema));
    }
    for (const { name, description } of parameters) {
      if (name !== undefined) expect(description, name).toMatch(/\w.*\.$/);
    }
    const { body } = route.schema;
    if (body === undefined) return expect(requestBody).toBeUndefined();
    const ref = requestBody?.content['application/json'].schema['$ref'];
    const { properties = {} } = document.components.schemas[nameIn(String(ref))] as { readonly properties?: object };
    expect(Object.keys(properties)).toEqual(namesOf(body));
  },
);

test('every field of every component has a sentence, but for those that a constant says', () => {
  const undescribed = Object.entries(document.components.schemas).flatMap(([name, schema]) =>
    fieldsOf(schema).flatMap(([field, { description, $ref, const: constant }]) =>
      typeof description === 'string' || $ref !== undefined || constant !== undefined ? [] : [`${name}.${field}`],
    ),
  );
  // Of a message it is the event, or an object whose own fields have theirs.
  expect(undescribed.filter((name) => !name.endsWith('Message.data'))).toEqual([]);
});

type Schema = Readonly<Record<string, unknown>>;
type StreamMedia = { readonly example: string; readonly schema: { readonly $ref: string } };

function fieldsOf(value: unknown): [string, Schema][] {
  if (typeof value !== 'object' || value === null) return [];
  const { properties } = value as { readonly properties?: Readonly<Record<string, Schema>> };
  return [...Object.entries(properties ?? {}), ...Object.values(value).flatMap(fieldsOf)].filter(
    ([, field]) => typeof field === 'object' && field !== null,
  );
}

test('every type of problem is among the answers of some call', () => {
  const documented = Object.values(document.components.responses).flatMap(({ content = {} }) =>
    Object.keys(content['application/problem+json']?.examples ?? {}),
  );
  expect(new Set(documented)).toEqual(new Set(Object.keys(problemTypes)));
});

describe('the examples are what the schemas say', () => {
  test('of answers', () => {
    const contract = new Contract(document);
    for (const { path, method, operation } of operationsOf(document)) {
      for (const [status, response] of Object.entries(operation.responses)) {
        const { content = {} } = response as { content?: Record<string, { example?: unknown }> };
        for (const [contentType, { example }] of Object.entries(content)) {
          if (example === undefined) continue;
          const seen = { status: Number(status), contentType, body: JSON.stringify(example) };
          expect(contract.complaint(method, path, seen), operation.operationId).toBeNull();
        }
      }
    }
    expect(contract.seen.size).toBeGreaterThan(20);
  });

  test('of problems', () => {
    const contract = new Contract(document);
    let count = 0;
    for (const { path, method, operation } of operationsOf(document)) {
      for (const [status, response] of Object.entries(operation.responses)) {
        // Those of requests that find no operation.
        if (status === 'default') continue;
        const { $ref } = response as { readonly $ref?: string };
        const { content = {} } = document.components.responses[nameIn($ref ?? '')] ?? {};
        const examples = Object.values(content['application/problem+json']?.examples ?? {});
        for (const { value } of examples as readonly { value: { status: number } }[]) {
          const contentType = 'application/problem+json';
          const seen = { status: value.status, contentType, body: JSON.stringify(value) };
          expect(contract.complaint(method, path, seen), operation.operationId).toBeNull();
          count += 1;
        }
      }
    }
    expect(count).toBeGreaterThan(100);
  });

  test('and so are those of the pages about problems, which came from the running service', () => {
    const pages = globSync('docs/problems/*.md', { cwd: new URL('../../', import.meta.url) });
    for (const file of pages) {
      const page = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
      const [, body = ''] = /```http\n[^]*?\n\n([^]*?)```/.exec(page) ?? [];
      const [, name = ''] = /([a-z-]+)\.md$/.exec(file) ?? [];
      const component = `${name.replaceAll(/(?:^|-)(\w)/g, (_whole, letter: string) => letter.toUpperCase())}Problem`;
      const schema = { $ref: `#/components/schemas/${component}` };
      expect(new Contract(document).complaintAbout(schema, JSON.parse(body)), name).toBeNull();
    }
    expect(pages.length).toBe(Object.keys(problemTypes).length);
  });

  test('of streams, block by block', () => {
    const streams = operationsOf(document).flatMap(({ operation }) => {
      const { content = {} } = (operation.responses['200'] ?? {}) as { content?: Record<string, StreamMedia> };
      return content['text/event-stream'] === undefined ? [] : [content['text/event-stream']];
    });
    const contract = new Contract(document);
    for (const { example, schema } of streams) {
      const { contentSchema = {} } = document.components.schemas[nameIn(schema.$ref)] as { contentSchema?: Schema };
      const [, data = ''] = /^id: \d+\ndata: (.*)\n\n$/.exec(example) ?? [];
      expect(contract.complaintAbout(contentSchema, JSON.parse(data))).toBeNull();
      expect(contract.complaintAbout(contentSchema, { reason: 'gone', after: 118 })).toBeNull();
      expect(contract.complaintAbout(contentSchema, { reason: 'gone' })).not.toBeNull();
    }
    expect(streams).toHaveLength(2);
  });

  test('of webhooks', () => {
    for (const [type, { post }] of Object.entries(document.webhooks)) {
      const media = post.requestBody?.content['application/json'];
      expect(media?.example).toMatchObject({ type });
      expect(new Contract(document).complaintAbout(media?.schema ?? {}, media?.example), type).toBeNull();
    }
  });
});

test('what is said of an answer is held against it: a header that nobody wrote down, a field too many, one of another kind, a problem that is not of the call', () => {
  const contract = new Contract(document);
  const [path, contentType] = ['/keys/1f0c8e5a9b3d7246', 'application/json; charset=utf-8'];
  const response = operationOf({ method: 'GET', url: '/keys/:id' }).responses['200'] ?? {};
  const example = 'content' in response ? (response.content?.['application/json']?.example as object) : {};
  const complaint = (body: unknown, status = 200) =>
    contract.complaint('GET', path, { status, contentType, body: JSON.stringify(body) });
  expect(complaint(example)).toBeNull();
  expect(complaint({ ...example, more: 1 })).toContain('more');
  expect(complaint({ ...example, createdAt: 0 })).toContain('createdAt');
  expect(complaint(example, 201)).toContain('201');
  const withHeaders = (headers: Record<string, string>) =>
    contract.complaint('GET', path, { status: 200, contentType, headers, body: JSON.stringify(example) });
  expect(withHeaders({ ...commonHeaders, ratelimit: '"caller";r=1;t=1', date: 'now' })).toBeNull();
  expect(withHeaders({ 'cache-control': 'no-store' })).toContain('cache-control: no-store');
  expect(withHeaders({ 'x-more': '1' })).toContain('x-more');
  const problem = JSON.stringify({ type: 'urn:willow:problem:bad-cursor', title: '', status: 400 });
  const seen = { status: 400, contentType: 'application/problem+json', body: problem };
  expect(contract.complaint('GET', path, seen)).not.toBeNull();
  expect(contract.complaint('GET', '/keys', seen)).toBeNull();
});
