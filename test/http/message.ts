// A message in the quarantine, with something in it that should not be shown as it is.

import type { Quarantined } from '../../src/http/routes/quarantine.ts';
import { atMs } from './ada.ts';

export const message: Quarantined = {
  id: 12,
  receivedAtMs: atMs,
  topic: '/logout\u202e',
  payload: Buffer.from('{"a\n\\'),
  payloadBytes: 5,
  reason: 'not-json',
  detail: 'the payload is not valid JSON',
};
