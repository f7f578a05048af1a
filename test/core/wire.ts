// The wire boundary with the settings' defaults, for the tests of what comes in.

import { parseMessage, type Wire } from '../../src/core/signal.ts';

export const wire: Wire = {
  topics: { login: '/login', logout: '/logout' },
  pointers: { userId: ['userId'], sessionId: ['sessionId'], epoch: ['epoch'] },
  tickets: { isRequired: false, verify: () => null },
};
export const nowMs = 1_700_000_000_000;

export function parse(topic: string, payload: string | object = '') {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
  return parseMessage(topic, new TextEncoder().encode(text), wire, nowMs);
}

/** The reason of a refusal, or the kind of the signal. */
export function verdictOn(topic: string, payload: string | object = ''): string {
  const parsed = parse(topic, payload);
  return parsed.kind === 'refused' ? parsed.reason : parsed.kind;
}
