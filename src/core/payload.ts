// What a payload says, in the order of trial of the wire contract: nothing, a JSON object, a JSON text, the literal `{id}`, a bare id.
// Parsing returns, it never throws: a device can send anything.

import { isJsonObject, type JsonObject, lookUp, parseJson, parseJsonNumbersAsText } from './json.ts';

export const payloadBytesMax = 4096;

export type PayloadPointers = {
  readonly userId: readonly string[];
  readonly sessionId: readonly string[];
  readonly epoch: readonly string[];
};

/** Raw values, not yet validated; undefined where the payload has none. */
export type PayloadFields = {
  readonly userId?: unknown;
  readonly sessionId?: unknown;
  readonly clientId?: unknown;
  readonly epoch?: unknown;
  readonly reason?: unknown;
  readonly device?: unknown;
  readonly ticket?: unknown;
};

export type ParsedPayload =
  | { readonly kind: 'fields'; readonly fields: PayloadFields }
  | {
      readonly kind: 'refused';
      readonly reason: 'payload-too-large' | 'not-utf8' | 'not-json' | 'bad-shape';
      readonly detail: string;
    };

const utf8 = new TextDecoder('utf-8', { fatal: true });

export function parsePayload(payload: Uint8Array, pointers: PayloadPointers): ParsedPayload {
  if (payload.length > payloadBytesMax) {
    return { kind: 'refused', reason: 'payload-too-large', detail: `the payload is over ${payloadBytesMax} bytes` };
  }
  const decoded = decode(payload);
  if (decoded === null) return { kind: 'refused', reason: 'not-utf8', detail: 'the payload is not UTF-8' };
  const text = decoded.replace(/^[\t\n\v\f\r ]+|[\t\n\v\f\r ]+$/g, '');
  switch (text[0]) {
    case undefined:
      return { kind: 'fields', fields: {} };
    case '{':
    case '[':
    case '"':
      return parseStructured(text, pointers);
    default:
      if (!/\s/u.test(text)) return { kind: 'fields', fields: { userId: text } };
      return { kind: 'refused', reason: 'bad-shape', detail: 'a bare user id has no white space in it' };
  }
}

function parseStructured(text: string, pointers: PayloadPointers): ParsedPayload {
  const json = parseJson(text);
  if (json === undefined) {
    // The article's literal form: the braces of its "{the current user's id}", kept.
    const literal = /^\{([^\s"':,{}]+)\}$/u.exec(text);
    if (literal !== null) return { kind: 'fields', fields: { userId: literal[1] } };
    return { kind: 'refused', reason: 'not-json', detail: 'the payload begins like JSON and is not' };
  }
  if (typeof json.value === 'string') return { kind: 'fields', fields: { userId: json.value } };
  if (!isJsonObject(json.value)) {
    return { kind: 'refused', reason: 'bad-shape', detail: 'the payload is JSON, but neither an object nor a text' };
  }
  return { kind: 'fields', fields: fieldsOf(json.value, text, pointers) };
}

function fieldsOf(document: JsonObject, text: string, pointers: PayloadPointers): PayloadFields {
  const names = identityOf(document, pointers);
  const isNumeric = Object.values(names).some((value) => typeof value === 'number');
  const identity = isNumeric ? identityOf(parseJsonNumbersAsText(text), pointers) : names;
  return {
    ...identity,
    epoch: lookUp(document, pointers.epoch),
    reason: lookUp(document, ['reason']),
    device: lookUp(document, ['device']),
    ticket: lookUp(document, ['ticket']),
  };
}

function identityOf(document: unknown, pointers: PayloadPointers) {
  return {
    userId: lookUp(document, pointers.userId),
    sessionId: lookUp(document, pointers.sessionId),
    clientId: lookUp(document, ['clientId']),
  };
}

function decode(payload: Uint8Array): string | null {
  try {
    return utf8.decode(payload);
  } catch {
    return null;
  }
}
