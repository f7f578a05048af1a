// The calls that Willow makes itself: what it sends to a webhook, by Standard Webhooks, and what it makes of the answers.

import { webhookBodies, wireEvents } from '../../core/wire-event.ts';
import { ended as event } from '../answers/events.ts';
import { named } from './operation.ts';
import type { Json } from './responses.ts';

const { at } = event;
const { reason: _reason, ...begun } = event;

type BodyType = keyof typeof webhookBodies;
type Sent = { readonly id: string; readonly name: string; readonly summary: string; readonly data: Json };

const sent: Readonly<Record<BodyType, Sent>> = {
  'session.started': {
    id: 'sessionStarted',
    name: 'SessionStarted',
    summary: 'A session of a user begins',
    data: { ...begun, type: 'session.started' },
  },
  'session.ended': { id: 'sessionEnded', name: 'SessionEnded', summary: 'A session of a user is over', data: event },
  'user.online': {
    id: 'userOnline',
    name: 'UserOnline',
    summary: 'A user comes online',
    data: { ...begun, type: 'user.online' },
  },
  'user.offline': {
    id: 'userOffline',
    name: 'UserOffline',
    summary: 'A user goes offline',
    data: { ...event, type: 'user.offline' },
  },
  batch: {
    id: 'batch',
    name: 'Batch',
    summary: 'Several events of one lane, oldest first',
    data: { events: [event, { ...event, position: 119, sequence: 9, type: 'user.offline' }] },
  },
  'webhook.test': {
    id: 'webhookTest',
    name: 'WebhookTest',
    summary: 'A test, which is about nobody',
    data: { endpointId: 'whe_UFQ1TnOhfrHxD9LMcoPdzA' },
  },
};

const types = Object.keys(webhookBodies) as BodyType[];
for (const type of types) webhookBodies[type].register(named, { id: `${sent[type].name}Message` });
for (const [type, schema] of Object.entries(wireEvents))
  schema.register(named, { id: `${sent[type as BodyType].name}Event` });

const parameters = [
  parameter(
    'webhook-id',
    'string',
    'The same on every try and every replay; no two events of a webhook share it.',
    'whe_1_118',
  ),
  parameter('webhook-timestamp', 'integer', 'When this try was made, in seconds since 1970.', 1795422005),
  parameter(
    'webhook-signature',
    'string',
    '`v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64; two of them, with a blank in between, for a day after a rotation.',
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  ),
];

const traceparent = {
  ...parameter(
    'traceparent',
    'string',
    'Where Willow is set to send traces: that of the event, of the first one in a batch, by W3C Trace Context.',
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  ),
  required: false,
};

function parameter(name: string, type: string, description: string, example: string | number): Json {
  return { name, in: 'header', required: true, description, schema: { type }, example };
}

const responses = {
  '2XX': { description: 'It is taken; what the answer says does not matter.' },
  '400': {
    description: 'This event is refused, for good: after three tries it is parked for a person. So are 413 and 422.',
  },
  '410': { description: 'The webhook is gone: it is disabled.' },
  '413': { description: 'As 400.' },
  '422': { description: 'As 400.' },
  default: {
    description:
      'An outage, redirects included: it is sent again until it is taken, later and later, and the events behind it wait.',
    headers: { 'Retry-After': { $ref: '#/components/headers/Retry-After' } },
  },
};

export function webhooksSection(): Json {
  return Object.fromEntries(
    types.map((type) => {
      const { id, name, summary, data } = sent[type];
      const media = {
        schema: { $ref: `#/components/schemas/${name}Message` },
        example: { type, timestamp: at, data },
      };
      const post = {
        operationId: id,
        tags: ['webhooks'],
        summary,
        description: `Sent to every webhook that wants it, signed by Standard Webhooks 1.0.0, at least once, in the order of each user.`,
        security: [],
        // A test is of no event, and in no trace.
        parameters: type === 'webhook.test' ? parameters : [...parameters, traceparent],
        requestBody: { required: true, content: { 'application/json': media } },
        responses,
      };
      return [type, { post }];
    }),
  );
}
