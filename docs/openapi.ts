// The OpenAPI document as the service serves it, written so that a change of contract shows in review.

import { pino } from 'pino';
import type { HttpServer } from '../src/http/instance.ts';
import { createHttpServer, type HttpDeps } from '../src/http/server.ts';

export const openApiPath = new URL('./openapi.json', import.meta.url);

/** A server whose routes are never called: nobody has to say what its ports are. */
export function serverOfDocuments(): HttpServer {
  const port: unknown = new Proxy(() => port, { get: () => port });
  const known = { hasApi: true, apiKey: null, allowedOrigins: [], logger: pino({ level: 'silent' }), limits: {} };
  const ports = new Proxy({}, { get: () => port });
  const deps = Object.assign(Object.create(ports) as object, known);
  return createHttpServer(deps as unknown as HttpDeps);
}

export async function openApiText(): Promise<string> {
  const app = serverOfDocuments();
  const { statusCode, body } = await app.inject({ url: '/openapi.json', headers: { host: 'localhost' } });
  await app.close();
  if (statusCode !== 200) throw new Error(`GET /openapi.json answered ${statusCode}: ${body}`);
  return `${JSON.stringify(JSON.parse(body), null, 2)}\n`;
}
