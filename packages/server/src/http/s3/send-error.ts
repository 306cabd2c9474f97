import type { ErrorCode } from '@darkroom/contract/error-codes';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DarkroomError } from '../../platform/errors.ts';
import { errorAnswer } from '../error-answer.ts';
import { S3Error, type S3ErrorCode } from './s3-error.ts';
import { xmlDocument } from './xml.ts';

/** Of a body that is refused, so much is read to its end: a client that still sends often does not hear the answer. */
const MAX_DRAINED_BYTES = 64 * 1024 * 1024;

const CODES: Partial<Record<ErrorCode, S3ErrorCode>> = {
  forbidden: 'AccessDenied',
  insufficient_storage: 'InsufficientStorage',
  not_found: 'NoSuchKey',
  payload_too_large: 'EntityTooLarge',
  quota_exceeded: 'QuotaExceeded',
  rate_limited: 'SlowDown',
  unavailable: 'ServiceUnavailable',
};

/** Whatever was thrown, in S3's shape. */
export function sendS3Error(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { code, message, status } = s3ErrorOf(error, request);
  if (Number(request.headers['content-length'] ?? 0) > MAX_DRAINED_BYTES) reply.header('connection', 'close');
  reply.code(status).type('application/xml').header('x-amz-request-id', request.id);
  if (request.method === 'HEAD') return reply.send();
  const resource = request.url.split('?', 1)[0] ?? '';
  return reply.send(
    xmlDocument(
      'Error',
      { Code: code, Message: message, Resource: resource, RequestId: request.id },
      { namespace: false },
    ),
  );
}

function s3ErrorOf(error: unknown, request: FastifyRequest): S3Error {
  if (error instanceof S3Error) return error;
  const { statusCode, message } = errorAnswer(error, request);
  if (error instanceof DarkroomError && error.isUserError) {
    const code = error.code === 'not_found' && isOfUpload(request) ? 'NoSuchUpload' : CODES[error.code];
    return new S3Error(code ?? 'InvalidRequest', message);
  }
  return new S3Error(statusCode < 500 ? 'InvalidRequest' : 'InternalError', message);
}

const isOfUpload = (request: FastifyRequest) => /[?&]uploadId=/.test(request.url);
