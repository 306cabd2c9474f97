import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import type { ContextStore } from '../../builds/contexts/context-store.ts';
import type { UploadKeys } from '../../tenancy/upload-credentials.ts';
import type { RateLimiter } from '../rate-limit.ts';
import { authenticate } from './authenticate.ts';
import { BUCKET } from './bucket.ts';
import type { Call, Operation } from './call.ts';
import { createOperationOf } from './operation.ts';
import { S3Error } from './s3-error.ts';
import { sendS3Error } from './send-error.ts';
import { locate } from './target.ts';

export interface S3Deps {
  keys: UploadKeys;
  contexts: ContextStore;
  rateLimiter: RateLimiter;
  publicUrl: string | undefined;
}

interface Ready {
  operation: Operation;
  call: Call;
}

declare module 'fastify' {
  interface FastifyRequest {
    s3: Ready | null;
  }
}

const METHODS = ['GET', 'HEAD', 'PUT', 'POST', 'DELETE'];

/**
 * As much of S3 as clients use to upload the files of a build, over the organization's own contexts. Who asks, for what, and
 * whether they may is settled before a body is invited. Bodies are streams here: no parser and no limit of the other surfaces
 * touches them.
 */
export function s3Dialect(deps: S3Deps): FastifyPluginAsync {
  const publicHost = deps.publicUrl === undefined ? undefined : new URL(deps.publicUrl).host;
  const operationOf = createOperationOf();

  function ready(request: FastifyRequest, reply: FastifyReply): Ready {
    const { method, url = '', headers } = request.raw;
    const signer = authenticate(deps.keys, { method: method ?? '', url, headers }, publicHost);
    const located = locate(url, signer.organizationId);
    const operation = operationOf(request.method, located, headers);
    return { operation, call: { request, reply, signer, query: located.query, store: deps.contexts } };
  }

  return async (app) => {
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', (_request, _payload, done) => done(null));
    app.decorateRequest('s3', null);
    app.setErrorHandler(sendS3Error);
    app.addHook('onRequest', async (request, reply) => {
      reply.header('x-amz-request-id', request.id);
      try {
        request.s3 = ready(request, reply);
        // Uploads are bounded by their bytes; what only looks counts as a request like any other.
        const isLook = request.method === 'GET' || request.method === 'HEAD';
        const { organizationId } = request.s3.call.signer;
        if (isLook && deps.rateLimiter.hit('authenticated', organizationId).exceeded) throw slowDown();
      } catch (error) {
        // Only failures count: who signs well is never locked out by a neighbour.
        if (isWrongKey(error) && deps.rateLimiter.hit('failed-auth', request.ip).exceeded) throw slowDown();
        throw error;
      }
    });
    for (const url of ['/', '/*']) {
      app.route({
        method: METHODS,
        url,
        schema: { hide: true },
        handler: async ({ s3 }) => {
          if (s3 === null) throw new Error('a request was not looked at');
          return s3.operation(s3.call);
        },
      });
    }
  };
}

const isWrongKey = (error: unknown) =>
  error instanceof S3Error && /^(InvalidAccessKeyId|InvalidToken|SignatureDoesNotMatch)$/.test(error.code);
const slowDown = () => new S3Error('SlowDown', 'Please reduce your request rate.');

export const s3Prefix = `/${BUCKET}`;
