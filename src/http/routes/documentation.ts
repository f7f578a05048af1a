// What the API is, for programs and for people: the OpenAPI document, and a page that shows it. The page asks nothing of anybody but this
// process: its script comes with Willow, its Content-Security-Policy allows no other place, and whatever would leave the process is
// switched off. Both are made when they are first asked for, and kept.

import type { FastifyReply, RouteOptions } from 'fastify';
import { fastify } from 'fastify';
import { getApiPage, getApiPageScript, getOpenApi } from '../answers/documentation.ts';
import type { HttpServer } from '../instance.ts';
import { openApiDocument } from '../openapi/document.ts';

/** The page may load and ask this process alone; the reference writes styles into itself. */
const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const configuration = {
  url: '/openapi.json',
  // Each of these would ask somebody else, or tell somebody else.
  telemetry: false,
  withDefaultFonts: false,
  proxyUrl: '',
  agent: { disabled: true },
  mcp: { disabled: true },
  showDeveloperTools: 'never',
  hideClientButton: true,
};

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Willow</title>
</head>
<body>
<script id="api-reference" type="application/json" data-url="/openapi.json" data-configuration="${escaped(JSON.stringify(configuration))}"></script>
<script src="/docs/scalar.js"></script>
</body>
</html>
`;

export function documentationRoutes(app: HttpServer, routes: readonly RouteOptions[]): void {
  const document = once(async () => JSON.stringify(await openApiDocument(routes)));
  const script = once(readScript);

  app.get('/openapi.json', { config: { scope: 'open', operation: getOpenApi } }, async (_request, reply) =>
    reply.header('content-type', 'application/json; charset=utf-8').send(await document()),
  );

  app.get('/docs', { config: { scope: 'open', operation: getApiPage } }, (_request, reply) =>
    sendOfPage(reply, 'text/html; charset=utf-8').send(page),
  );

  app.get('/docs/scalar.js', { config: { scope: 'open', operation: getApiPageScript } }, async (_request, reply) =>
    sendOfPage(reply, 'text/javascript; charset=utf-8')
      .header('cache-control', 'public, max-age=3600')
      .send(await script()),
  );
}

function sendOfPage(reply: FastifyReply, contentType: string): FastifyReply {
  return reply.header('content-type', contentType).header('content-security-policy', pagePolicy);
}

/** The package gives its script to a server only: one that nobody calls is asked for it. */
async function readScript(): Promise<Buffer> {
  const { default: apiReference } = await import('@scalar/fastify-api-reference');
  const app = fastify();
  await app.register(apiReference, { routePrefix: '/', configuration: { url: '/openapi.json' } });
  const { rawPayload } = await app.inject('/js/scalar.js');
  await app.close();
  return rawPayload;
}

/** What fails is tried again by the next who asks. */
function once<Made>(make: () => Promise<Made>): () => Promise<Made> {
  let made: Promise<Made> | null = null;
  return () => {
    made ??= make().catch((error: unknown) => {
      made = null;
      throw error;
    });
    return made;
  };
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');
}
