// What the OpenAPI document promises of an answer, held against the answer that came: its status is one of the call's, a problem is one
// that the call may have, its headers are those of the answer, and the body is what the schema says, without a member that nobody wrote
// down.

import { z } from 'zod';
import { openApiText } from '../../docs/openapi.ts';
import { commonHeaders } from '../../src/http/problems.ts';

type Json = { readonly [key: string]: unknown };
type Media = { readonly schema: Json; readonly example?: unknown; readonly examples?: Json };
type Response = { readonly headers?: Json; readonly content?: Readonly<Record<string, Media>> };
export type Operation = {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly description?: string }[];
  readonly requestBody?: { readonly content: { readonly 'application/json': Media } };
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly responses: Readonly<Record<string, Response | { readonly $ref: string }>>;
};
export type Document = {
  readonly info: { readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly webhooks: Readonly<Record<string, { readonly post: Operation }>>;
  readonly components: {
    readonly responses: Readonly<Record<string, Response>>;
    readonly schemas: Readonly<Record<string, Json>>;
  };
};

export type AnswerSeen = {
  readonly status: number;
  readonly contentType: string | undefined;
  /** Left out: nobody looked. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly body: string;
};

export async function readDocument(): Promise<Document> {
  return JSON.parse(await openApiText()) as Document;
}

/** By the names of the documented path; literal segments go before parameters. */
export function operationAt(document: Document, method: string, target: string): Operation | undefined {
  const [path = ''] = target.split(/[?#]/u);
  return Object.keys(document.paths)
    .filter((pattern) =>
      new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll(/\{\w+\}/gu, '[^/]*')}$`, 'u').test(path),
    )
    .toSorted((one, other) => one.split('{').length - other.split('{').length)
    .map((pattern) => document.paths[pattern]?.[method.toLowerCase()])
    .find((operation) => operation !== undefined);
}

export class Contract {
  readonly #document: Document;
  readonly #schemas = new Map<string, z.ZodType>();
  /** The operations and statuses whose answers were held against the document. */
  readonly seen = new Set<string>();

  constructor(document: Document) {
    this.#document = document;
  }

  /** What is wrong with the answer; null: nothing. */
  complaint(method: string, target: string, { status, contentType, headers = {}, body }: AnswerSeen): string | null {
    const operation = operationAt(this.#document, method, target);
    if (operation === undefined) return status >= 400 ? null : 'no such operation is documented';
    const named = operation.responses[status] ?? (status >= 400 ? operation.responses['default'] : undefined);
    if (named === undefined) return `${operation.operationId} does not document ${status}`;
    this.seen.add(`${operation.operationId} ${status}`);
    const response = '$ref' in named ? this.#document.components.responses[nameIn(String(named.$ref))] : named;
    const undeclared = undeclaredIn(headers, response?.headers ?? {});
    if (undeclared.length > 0) return `${operation.operationId} ${status} does not document ${undeclared.join(', ')}`;
    if (response?.content === undefined) return body === '' ? null : `${operation.operationId} documents no body`;
    const type = contentType?.split(';')[0] ?? '';
    const media = response.content[type];
    if (media === undefined) return `${operation.operationId} does not document ${type} for ${status}`;
    if (body === '' || !type.endsWith('json')) return null;
    const name = `${operation.operationId} ${status} ${type}`;
    const schema = this.#schemas.get(name) ?? this.#strict(media.schema);
    this.#schemas.set(name, schema);
    const { error } = schema.safeParse(JSON.parse(body));
    return error === undefined ? null : `${name}: ${z.prettifyError(error)}`;
  }

  /** The same of a value by itself. */
  complaintAbout(schema: Json, value: unknown): string | null {
    const { error } = this.#strict(schema).safeParse(value);
    return error === undefined ? null : z.prettifyError(error);
  }

  #strict(schema: Json): z.ZodType {
    const root = { ...schema, $defs: this.#document.components.schemas };
    // As a client reads it members may be added; here each has to be written down.
    const text = JSON.stringify(root, (_key, value: unknown) =>
      isShape(value) ? { additionalProperties: false, ...value } : value,
    );
    return z.fromJSONSchema(
      JSON.parse(text.replaceAll('#/components/schemas/', '#/$defs/')) as Parameters<typeof z.fromJSONSchema>[0],
    );
  }
}

/** Of HTTP itself, on any answer. */
const ofAnyMessage = new Set([
  'connection',
  'content-length',
  'content-type',
  'date',
  'keep-alive',
  'transfer-encoding',
]);

/** The document says once what every answer has; whatever is otherwise is said where it is. */
function undeclaredIn(sent: Readonly<Record<string, string | undefined>>, declared: Json): readonly string[] {
  const names = new Set(Object.keys(declared).map((name) => name.toLowerCase()));
  return Object.entries(sent)
    .filter(([name, value]) => !ofAnyMessage.has(name) && !names.has(name) && value !== commonHeaders[name])
    .map(([name, value]) => `the header ${name}: ${value}`);
}

function isShape(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && 'properties' in value && 'required' in value;
}

export function nameIn(ref: string): string {
  return ref.slice(ref.lastIndexOf('/') + 1);
}
