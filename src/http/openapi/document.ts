// The OpenAPI document of the routes that are served. It is made from their zod schemas on an instance of its own that serves nothing,
// so that what describes the API is never in the way of what answers it.

import swagger from '@fastify/swagger';
import { type FastifySchema, fastify, type RouteOptions } from 'fastify';
import { jsonSchemaTransform, validatorCompiler } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { version } from '../../runtime/version.ts';
import { scopes } from '../instance.ts';
import { named, type Operation, type RequestHeaderName, tags } from './operation.ts';
import { headers, type Json, Responses, type Taken } from './responses.ts';
import { webhooksSection } from './webhooks.ts';

const info = {
  title: 'Willow',
  version,
  summary: 'Who is online, and who is gone.',
  description: [
    'Willow knows who is online and says so the moment somebody is gone: it stands beside an MQTT broker and turns Last Wills into',
    'logouts that last. JSON in camelCase, times in ISO 8601 UTC. Lists are `{data, nextCursor}`. What is not what was asked for is',
    '`application/problem+json` (RFC 9457) with a stable `type`. Members that a client does not know may be added to any answer: ignore',
    'them. Where no `API_KEY` is set no key is needed, and this machine alone is served. Whatever has GET has HEAD too: the same status',
    'and headers, without the body. Every answer has `Cache-Control: private, no-cache` where nothing else is said of it,',
    '`X-Content-Type-Options: nosniff`, `Referrer-Policy: no-referrer`, `Cross-Origin-Resource-Policy: same-origin` and a',
    '`Content-Security-Policy` that allows nothing; pages of the origins that may call are told so by those of CORS.',
  ].join(' '),
  contact: { name: 'Willow' },
  license: { name: 'MIT', identifier: 'MIT' },
};

const bearer = {
  type: 'http',
  scheme: 'bearer',
  description: `An API key. Each call names the scope that the key needs, one of: ${scopes.join(', ')}.`,
} as const;

export async function openApiDocument(routes: readonly RouteOptions[]): Promise<Json> {
  const app = fastify({ routerOptions: { maxParamLength: 1_000 }, exposeHeadRoutes: false });
  app.setValidatorCompiler(validatorCompiler);
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', components: { securitySchemes: { bearer } } },
    convertConstToEnum: false,
    transform,
  });
  const described = routes.filter(({ method, config }) => method !== 'HEAD' && config?.operation !== undefined);
  for (const { method, url, schema, config } of described) {
    app.route({ method, url, schema: schema ?? {}, config: config ?? {}, handler: () => null });
  }
  await app.ready();
  const { paths = {} } = app.swagger() as unknown as { readonly paths?: Paths };
  await app.close();
  return finished(paths, described);
}

type Paths = Readonly<Record<string, Readonly<Record<string, Record<string, unknown>>>>>;
type Transform = (input: Parameters<typeof jsonSchemaTransform>[0]) => { schema: FastifySchema; url: string };

const transform: Transform = (input) => {
  const { schema, url } = jsonSchemaTransform(input);
  const { operation, scope } = input.route.config ?? {};
  if (operation === undefined) return { schema: { ...schema, hide: true }, url };
  const { id: operationId, tag, summary, description } = operation;
  const security = scope === undefined || scope === 'open' ? [] : [{ bearer: [scope] }];
  return { url, schema: { ...schema, operationId, tags: [tag], summary, description, security } };
};

/** With what the framework does not know: answers, names for bodies, and the calls that Willow makes itself. */
function finished(paths: Paths, routes: readonly RouteOptions[]): Json {
  const responses = new Responses();
  const bodies: Record<string, unknown> = {};
  for (const path of Object.values(paths)) {
    for (const [method, entry] of Object.entries(path)) {
      const route = routes.find(({ config }) => config?.operation?.id === entry['operationId']);
      const operation = route?.config?.operation;
      if (route === undefined || operation === undefined) continue;
      const body = nameBody(entry, operation, bodies);
      const parameters = (entry['parameters'] ?? []) as readonly { readonly name: string }[];
      const { requestHeaders = [] } = operation;
      if (requestHeaders.length > 0) {
        const refs = requestHeaders.map((name) => ({ $ref: `#/components/parameters/${name}` }));
        entry['parameters'] = [...parameters, ...refs];
      }
      const taken: Taken = {
        method,
        scope: route.config?.scope ?? 'open',
        hasParameters: takesParameters(route),
        hasCursor: parameters.some(({ name }) => name === 'cursor'),
        hasBody: body !== undefined,
      };
      if (body !== undefined) entry['requestBody'] = { ...body, required: needsBody(route) };
      entry['responses'] = responses.of(operation, taken);
    }
  }
  const schemas = { ...bodies, ...namedSchemas() };
  return tidied({
    openapi: '3.1.0',
    info,
    servers: [{ url: '/', description: 'The process that serves this document.' }],
    tags: Object.entries(tags).map(([name, description]) => ({ name, description })),
    paths,
    webhooks: webhooksSection(),
    components: {
      securitySchemes: { bearer },
      parameters: requestHeaderParameters(routes),
      headers,
      responses: Object.fromEntries(responses.components),
      schemas,
    },
  });
}

const requestHeaderTexts: Readonly<Record<RequestHeaderName, readonly [description: string, example: string]>> = {
  'If-None-Match': [
    'The `ETag` of an answer that the caller has: 304 where it is still right.',
    'W/"2-3f-7-mibjd400-mibk2tc0"',
  ],
};

function requestHeaderParameters(routes: readonly RouteOptions[]): Json {
  const names = new Set(routes.flatMap(({ config }) => config?.operation?.requestHeaders ?? []));
  return Object.fromEntries(
    [...names].map((name) => {
      const [description, example] = requestHeaderTexts[name];
      return [name, { name, in: 'header', required: false, description, schema: { type: 'string' }, example }];
    }),
  );
}

type Body = { readonly content: Readonly<Record<string, { readonly schema: unknown }>> };

/** The body of an operation as a component. */
function nameBody(entry: Json, { body }: Operation, bodies: Record<string, unknown>): Json | undefined {
  const given = entry['requestBody'] as Body | undefined;
  if (given === undefined || body === undefined) return given;
  bodies[body.name] = given.content['application/json']?.schema;
  const media = { schema: { $ref: `#/components/schemas/${body.name}` }, example: body.example };
  return { description: body.description, content: { 'application/json': media } };
}

/** One that takes no query says so by a schema without names, and refuses all that it does not know. */
function takesParameters({ schema }: RouteOptions): boolean {
  return [schema?.params, schema?.querystring, schema?.headers].some((part) => part !== undefined);
}

function needsBody({ schema }: RouteOptions): boolean {
  return schema?.body instanceof z.ZodType && !schema.body.safeParse(undefined).success;
}

/** Open: members that nobody knows yet may come. */
function namedSchemas(): Json {
  const { schemas } = z.toJSONSchema(named, {
    io: 'output',
    uri: (id) => `#/components/schemas/${id}`,
    override: ({ jsonSchema }) => {
      if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
    },
  });
  return Object.fromEntries(
    Object.entries(schemas)
      .toSorted(([one], [other]) => (one < other ? -1 : 1))
      .map(([name, { $id: _id, $schema: _schema, ...schema }]) => [name, schema]),
  );
}

/** As a person would have written it: no pattern where the format says it, one type where null is the other. */
function tidied<Value>(document: Value): Value {
  return JSON.parse(JSON.stringify(document), (_key, value: unknown) =>
    isJson(value) ? tidiedSchema(value) : value,
  ) as Value;
}

function tidiedSchema({ pattern, anyOf, ...schema }: Json): Json {
  const { type, format } = schema;
  const isKnown = pattern === undefined || format === 'date-time' || type === 'integer' || type === 'boolean';
  const [one, other, more] = Array.isArray(anyOf) ? (anyOf as readonly Json[]) : [];
  if (other?.['type'] === 'null' && more === undefined && typeof one?.['type'] === 'string' && !('enum' in one)) {
    return { ...schema, ...one, type: [one['type'], 'null'], ...(!isKnown && { pattern }) };
  }
  return { ...schema, ...(anyOf !== undefined && { anyOf }), ...(!isKnown && { pattern }) };
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
