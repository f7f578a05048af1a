// Values that a zod schema takes, as far as it can be read as JSON Schema, with a dictionary of texts for what cannot: refinements.

import fc, { type Arbitrary } from 'fast-check';
import { z } from 'zod';

type JsonSchema = {
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly allOf?: readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchema;
  readonly pattern?: string;
  readonly format?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
};

export function valuesOf(schema: z.ZodType, words: readonly string[]): Arbitrary<unknown> {
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  return valuesOfJson(json, words);
}

/** The names of the members of an object, or of one that may be left out. */
export function namesOf(schema: z.ZodType): readonly string[] {
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
  return [json, ...(json.anyOf ?? [])].flatMap(({ properties = {} }) => Object.keys(properties));
}

function valuesOfJson(schema: JsonSchema, words: readonly string[]): Arbitrary<unknown> {
  const inner = (one: JsonSchema) => valuesOfJson(one, words);
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const several = schema.anyOf ?? schema.oneOf;
  if (several !== undefined) return fc.oneof(...several.map(inner));
  if (schema.allOf?.[0] !== undefined) return inner(schema.allOf[0]);
  switch (schema.type) {
    case 'string':
      return texts(schema, words);
    case 'integer':
      return integers(schema, words);
    case 'number':
      return fc.oneof(fc.nat(100), fc.double({ min: schema.minimum ?? 0, max: schema.maximum ?? 1e9, noNaN: true }));
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(inner(schema.items ?? {}), { maxLength: 4 });
    case 'object': {
      const members = Object.entries(schema.properties ?? {}).map(([name, one]) => [name, inner(one)] as const);
      const requiredKeys = (schema.required ?? []).filter((name) => name in (schema.properties ?? {}));
      return fc.record(Object.fromEntries(members), { requiredKeys: requiredKeys as [] });
    }
    case undefined:
    default:
      return fc.oneof(fc.constantFrom(...words), fc.jsonValue({ maxDepth: 2 }));
  }
}

/** Those that mean something to the server, too. */
function integers({ minimum = 0, maximum = 99 }: JsonSchema, words: readonly string[]): Arbitrary<number> {
  const any = fc.integer({ min: Math.max(minimum, -(2 ** 31)), max: Math.min(maximum, 2 ** 31 - 1) });
  const known = words.filter((word) => /^\d{1,15}$/u.test(word)).map(Number);
  const fitting = known.filter((value) => value >= minimum && value <= maximum);
  return fitting.length === 0 ? any : fc.oneof(any, fc.constantFrom(...fitting));
}

function texts({ pattern, format, minLength = 0, maxLength = 40 }: JsonSchema, words: readonly string[]) {
  const known: Arbitrary<string> = fc.constantFrom(...words);
  const time = fc
    .date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) })
    .map((date) => date.toISOString());
  if (format === 'date-time') return fc.oneof(time, known);
  const matching = pattern === undefined ? [] : [fc.stringMatching(new RegExp(pattern))];
  const free = fc.string({ unit: 'grapheme', minLength, maxLength: Math.max(minLength, Math.min(maxLength, 40)) });
  return fc.oneof({ weight: 3, arbitrary: known }, ...matching, free);
}
