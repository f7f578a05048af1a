// The HTTP server: its routes, and what happens to a request before and after a route. Every request is answered, and whatever
// is no success is problem+json, down to bytes that are no HTTP. It knows its ports as plain functions only.

import { type FastifyReply, type FastifyRequest, fastify, type HTTPMethods, type RouteOptions } from 'fastify';
import { validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Logger } from '../runtime/logger.ts';
import { StartError } from '../runtime/start-error.ts';
import { type GuardPort, requireKeys, requireScopes } from './auth.ts';
import { Bodies } from './bodies.ts';
import { Connections, type Dismissal } from './connections.ts';
import { answerPreflight, type Cors, namedOrigins } from './cors.ts';
import { malformedUrl, problemOf } from './failures.ts';
import { Guessing } from './guessing.ts';
import type { HttpServer } from './instance.ts';
import { presenceLane } from './lane.ts';
import { type HttpLimits, httpLimits } from './limits.ts';
import { keylessRefusal } from './loopback.ts';
import { parameterCharactersMax } from './parameters.ts';
import { commonHeaders, type Problem, sendProblem } from './problems.ts';
import { callerQuota, limitCallers } from './rate-limit.ts';
import { lineOf, logAnswers, logFailure } from './request-log.ts';
import { type AttemptsPort, attemptRoutes } from './routes/attempts.ts';
import { type AuditPort, auditRoutes } from './routes/audit.ts';
import { documentationRoutes } from './routes/documentation.ts';
import { type EventsOfUserPort, eventRoutes } from './routes/events.ts';
import { healthRoutes, type ReadyPort } from './routes/health.ts';
import { type KeysPort, keyRoutes } from './routes/keys.ts';
import { type EventsPort, logRoutes } from './routes/log.ts';
import { type MetricsPort, metricsRoutes } from './routes/metrics.ts';
import { type PreparePort, preparedSessionRoutes } from './routes/prepared-sessions.ts';
import { type AsOfPort, type PresencePort, presenceRoutes } from './routes/presence.ts';
import { type PresenceListsPort, presenceListRoutes } from './routes/presence-lists.ts';
import { presenceStreamRoutes } from './routes/presence-stream.ts';
import { type QuarantinePort, quarantineRoutes } from './routes/quarantine.ts';
import { type SessionsPort, sessionRoutes } from './routes/sessions.ts';
import type { StreamsPort } from './routes/streaming.ts';
import { type UsersPort, userRoutes } from './routes/users.ts';
import { type WebhooksPort, webhookActionRoutes, webhookRoutes } from './routes/webhooks.ts';
import { Shedding } from './shedding.ts';
import { answerClientError, createSocketServer, stopListening } from './sockets.ts';
import { oncePerRoute, type TallyOf, tallyRequests } from './tally.ts';
import type { Turns } from './turns.ts';

export type HttpDeps = SessionsPort & {
  readonly presence: PresencePort;
  readonly presenceAsOf: AsOfPort;
  readonly presenceLists: PresenceListsPort;
  readonly prepared: PreparePort;
  readonly users: UsersPort;
  readonly eventsOfUser: EventsOfUserPort;
  readonly events: EventsPort;
  readonly streams: StreamsPort;
  /** Of what is dear to read. */
  readonly turns: Turns;
  readonly webhooks: WebhooksPort & AttemptsPort;
  readonly keys: KeysPort & GuardPort;
  readonly audit: AuditPort;
  readonly quarantine: QuarantinePort;
  readonly ready: ReadyPort;
  readonly metrics: MetricsPort;
  /** False: health and metrics only. */
  readonly hasApi: boolean;
  /** Of the database behind it: what the cursors of lists are signed with. */
  readonly cursorKey: string;
  /** Null: no key is needed, and this machine alone is served. */
  readonly apiKey: string | null;
  /** Of the web pages that may call from a browser, besides those of this machine where no key is needed. */
  readonly allowedOrigins: readonly string[];
  /** Instead of the usual ones. */
  readonly limits?: Partial<HttpLimits>;
  /** Something was refused because there is too much of it. */
  readonly onRefused: (why: Refused) => void;
  /** Counts the requests of a route. */
  readonly tallyOf: TallyOf;
  readonly logger: Logger;
  /** Whether a port failed because the database is away, so that trying again helps. */
  readonly isUnavailable: (error: unknown) => boolean;
};

/** A request, or a connection: see the table of metrics. */
export type Refused = 'overloaded' | 'too-many-requests' | 'wrong-keys' | 'bodies' | 'no-turn' | Dismissal;

export const bodyBytesMax = 64 * 1024;

/** Of what the framework refuses by itself: no port was asked. */
const unheard = { isUnavailable: () => false, bodyBytesMax };

export function createHttpServer(deps: HttpDeps): HttpServer {
  const limits = { ...httpLimits, ...deps.limits };
  const connections = new Connections(limits, deps.onRefused);
  const cors = namedOrigins(deps.allowedOrigins);
  const onShed = () => deps.onRefused('overloaded');
  const shedding = new Shedding({ connections, limits, cors, onShed });
  const quota = callerQuota(limits);
  const tallyOf = oncePerRoute(deps.tallyOf);
  const lane = presenceLane(deps, { connections, shedding, quota, cors, tallyOf });
  const app = fastify({
    // Fastify's log would cost more than a whole presence request; what is worth a line is logged here.
    logger: false,
    serverFactory: (listener) => createSocketServer(lane(listener), connections, shedding),
    clientErrorHandler: answerClientError,
    bodyLimit: bodyBytesMax,
    // While closing, requests that already came are answered as ever, not with a 503 of another shape.
    return503OnClosing: false,
    routerOptions: { maxParamLength: parameterCharactersMax },
    frameworkErrors: (error, request, reply) => {
      if (cors !== null) reply.headers(cors.headersFor(request.headers.origin));
      const isUrl = error.code === 'FST_ERR_BAD_URL';
      sendProblem(reply, isUrl ? malformedUrl(app, request) : problemOf(error, unheard));
    },
  }).withTypeProvider<ZodTypeProvider>();

  app.setValidatorCompiler(validatorCompiler);
  app.decorate('cursorKey', deps.cursorKey);
  new Bodies({ limits, turn: shedding, onRefused: deps.onRefused }).watch(app);
  answerFailures(app, deps);
  tallyRequests(app, tallyOf);
  shedding.watch(app);
  refuseAtTheDoor(app, { ...deps, cors });
  if (deps.logger.isLevelEnabled('debug')) logAnswers(app, deps.logger);

  const served = collectRoutes(app);
  requireScopes(app);
  const guessing = new Guessing(limits, () => deps.onRefused('wrong-keys'));
  requireKeys(app, { apiKey: deps.apiKey, port: deps.keys, guessing, lookUpsMax: limits.requestsMax, onShed });
  limitCallers(app, { limits, quota, onRefused: () => deps.onRefused('too-many-requests') });
  if (deps.hasApi) {
    presenceRoutes(app, deps);
    presenceListRoutes(app, deps);
    sessionRoutes(app, deps);
    preparedSessionRoutes(app, deps.prepared);
    userRoutes(app, deps.users);
    eventRoutes(app, deps);
    serveLog(app, deps, shedding);
    webhookRoutes(app, deps.webhooks);
    webhookActionRoutes(app, deps.webhooks);
    attemptRoutes(app, deps.webhooks);
    keyRoutes(app, deps.keys);
    auditRoutes(app, deps.audit);
    quarantineRoutes(app, deps.quarantine);
    documentationRoutes(app, served);
  }
  healthRoutes(app, deps.ready);
  metricsRoutes(app, deps.metrics);
  partBeforeClosing(app, shedding);
  return app;
}

/** Who asks on a connection that he has is told first; who comes with a new one finds at once that nobody listens here. */
function partBeforeClosing(app: HttpServer, shedding: Shedding): void {
  app.addHook('preClose', async () => {
    stopListening(app.server);
    await shedding.part();
  });
}

/** Those that are added after this call, in the end. */
function collectRoutes(app: HttpServer): readonly RouteOptions[] {
  const routes: RouteOptions[] = [];
  app.addHook('onRoute', (route) => void routes.push(route));
  return routes;
}

function serveLog(app: HttpServer, { events, turns, streams }: HttpDeps, shedding: Shedding): void {
  const streaming = { ...streams, handOver: shedding.handOver.bind(shedding) };
  logRoutes(app, { events, turns }, streaming);
  presenceStreamRoutes(app, streaming);
  // Before the server waits for its connections: those that stream would never end.
  app.addHook('preClose', (done) => {
    streams.streams.closeAll();
    done();
  });
}

type Door = Pick<HttpDeps, 'apiKey' | 'allowedOrigins'> & {
  readonly cors: Cors | null;
};

/** Before a body is read: what no route needs to see. */
function refuseAtTheDoor(app: HttpServer, { apiKey, allowedOrigins, cors }: Door): void {
  const origins = new Set(allowedOrigins);
  const refusal = ({ headers, raw }: FastifyRequest): Problem | undefined => {
    const problem = apiKey === null ? keylessRefusal(headers, origins) : undefined;
    return problem ?? (headers.host === undefined && raw.httpVersion === '1.1' ? hostMissing : undefined);
  };
  app.addHook('onRequest', (request, reply, done) => {
    if (cors !== null) reply.headers(cors.headersFor(request.headers.origin));
    const problem = refusal(request);
    if (problem !== undefined) sendProblem(reply, problem);
    else if (request.is404) answerNoRoute(app, request, reply, cors);
    else {
      reply.headers(commonHeaders);
      done();
    }
  });
}

const hostMissing: Problem = { type: 'bad-request', detail: 'the Host header is missing' };

function answerNoRoute(app: HttpServer, request: FastifyRequest, reply: FastifyReply, cors: Cors | null): void {
  const url = request.raw.url ?? '/';
  const methods = (app.supportedMethods as HTTPMethods[]).filter((method) => app.findRoute({ method, url }) !== null);
  if (methods.length === 0) sendProblem(reply, { type: 'not-found' });
  else if (cors?.isPreflight(request) === true) answerPreflight(reply.headers(commonHeaders), methods);
  else sendProblem(reply, { type: 'method-not-allowed', headers: { allow: methods.join(', ') } });
}

function answerFailures(app: HttpServer, { logger, isUnavailable }: HttpDeps): void {
  app.setErrorHandler((error, request, reply) => {
    // The client went away in the middle of its body: nobody reads the answer, and nothing failed.
    const isGone = error instanceof Error && error === request.raw.errored;
    const context = { isUnavailable, bodyBytesMax: request.routeOptions.bodyLimit };
    const problem: Problem = isGone ? { type: 'bad-request' } : problemOf(error, context);
    // The framework closes behind a body that was not read, or is no JSON. The rest of it is read and dropped, as behind every other refusal:
    // closed on, whoever is still sending it sees no answer, and whoever has asked for more is not heard.
    if (reply.hasHeader('connection') && reply.raw.shouldKeepAlive) reply.removeHeader('connection');
    logFailure(logger, lineOf(request), problem, error);
    return sendProblem(reply, problem);
  });
}

const listenFailures: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there already; stop it, or choose another HTTP_PORT',
  EACCES: 'this user may not listen on that port; choose an HTTP_PORT from 1024 up',
  EADDRNOTAVAIL: 'this machine has no such address; set HTTP_HOST to one that it has, or to 0.0.0.0 for all of them',
  ENOTFOUND: 'that name does not resolve; set HTTP_HOST to an address of this machine',
};

/** Resolves to the URL that is served. */
export async function listen(
  app: Pick<HttpServer, 'listen'>,
  address: { readonly host: string; readonly port: number },
): Promise<string> {
  try {
    return await app.listen({ ...address });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    const sentence = listenFailures[code];
    if (sentence === undefined) throw error;
    const place = `HTTP_HOST ${address.host}, HTTP_PORT ${address.port}`;
    throw new StartError(`Willow cannot listen on ${place}: ${sentence}.`, { cause: error });
  }
}
