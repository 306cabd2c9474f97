import { randomUUID } from 'node:crypto';
import fastifyWebsocket from '@fastify/websocket';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { addBodyParsers } from './body-parsers.ts';
import { routeNotFound, sendApiError } from './daytona/errors.ts';
import { type DaytonaDeps, daytonaDialect } from './daytona/index.ts';
import { chooseProtocol } from './daytona/toolbox/pty-messages.ts';
import { createFront } from './front.ts';
import { healthRoutes, type ReadinessCheck } from './health.ts';
import { addMetrics, type HttpMetrics } from './metrics.ts';
import { addOpenApi } from './openapi.ts';
import type { PreviewFront } from './preview/index.ts';
import { type S3Deps, s3Dialect, s3Prefix } from './s3/index.ts';

export interface AppDeps {
  log: FastifyBaseLogger;
  version: string;
  /** A certificate and its key (PEM), for https. */
  tls?: { cert: string; key: string } | undefined;
  metrics: HttpMetrics;
  readiness: readonly ReadinessCheck[];
  daytona: DaytonaDeps;
  /** Without it nothing can be uploaded for builds. */
  s3?: S3Deps;
  /** Asked before everything below, because it has host names of its own. */
  previews?: PreviewFront;
}

/** A JSON body; uploads are streams and have limits of their own. */
const BODY_LIMIT = 10 * 1024 * 1024;
/** Slow heads are cut off; a whole request may take long, because uploads are requests. */
const HEADERS_TIMEOUT_MS = 20_000;
const REQUEST_TIMEOUT_MS = 60 * 60_000;
/** Longer than the idle time of common load balancers, so that they close first. */
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
/** One message of a WebSocket: what somebody types or pastes. Compression would cost memory for each connection. */
const WEB_SOCKET = { maxPayload: 4 * 1024 * 1024, perMessageDeflate: false, handleProtocols: chooseProtocol };
/** Names of snapshots have no limit of their own; the head of a request has one of 16 KiB. */
const MAX_PARAM_LENGTH = 16 * 1024;

/** Every plugin and prefix, in the order in which a request meets them. */
export async function buildApp(deps: AppDeps): Promise<FastifyInstance> {
  const front = createFront(
    {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
      tls: deps.tls,
    },
    deps.previews,
  );
  const app = Fastify({
    serverFactory: (handler) => front.createServer(handler),
    loggerInstance: deps.log,
    // One line for each request is written by `addMetrics`, with what matters of it.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    genReqId: (request) => acceptableId(request.headers['x-request-id']) ?? randomUUID(),
    bodyLimit: BODY_LIMIT,
    routerOptions: {
      ignoreDuplicateSlashes: true,
      ignoreTrailingSlash: true,
      maxParamLength: MAX_PARAM_LENGTH,
    },
    frameworkErrors: (error, request, reply) => sendApiError(error, request, reply),
    // Or Fastify loads compilers of its own, which nobody would use and which take 4 MB.
    schemaController: { compilersFactory: { buildValidator: noCompiler, buildSerializer: noCompiler } },
  }).withTypeProvider<ZodTypeProvider>();

  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  addBodyParsers(app);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
  });
  // After every `onRequest`: a key that may not is refused before a body is on its way.
  app.addHook('preParsing', (_request, reply, payload, done) => {
    front.inviteBody(reply.raw);
    done(null, payload);
  });
  app.setErrorHandler(sendApiError);
  app.setNotFoundHandler((request) => {
    throw routeNotFound(request);
  });

  addMetrics(app, deps.metrics);
  front.listenForUpgrades(app.server);
  app.addHook('preClose', async () => deps.previews?.close());
  await app.register(fastifyWebsocket, { options: { ...WEB_SOCKET, server: front.otherUpgrades } });
  await addOpenApi(app, { version: deps.version });
  await app.register(healthRoutes(deps.readiness));
  await app.register(daytonaDialect(deps.daytona));
  if (deps.s3 !== undefined) await app.register(s3Dialect(deps.s3), { prefix: s3Prefix });
  return app;
}

/** Ends in bounded time: no new requests, `graceMs` for those that run, then their connections are cut. */
export async function closeApp(app: FastifyInstance, options: { graceMs: number }): Promise<void> {
  const cut = setTimeout(() => app.server.closeAllConnections(), options.graceMs);
  try {
    await app.close();
  } finally {
    clearTimeout(cut);
  }
}

function noCompiler(): never {
  throw new Error('schemas are compiled by the compilers that are set below');
}

/** An id from a proxy in front is kept, so that its log and ours can be read together. */
function acceptableId(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && /^[\w.:-]{1,100}$/.test(header) ? header : undefined;
}
