import type { FastifyReply, FastifyRequest } from 'fastify';
import { DarkroomError } from '../../../platform/errors.ts';
import { type ErrorAnswer, errorAnswer } from '../../error-answer.ts';
import { toolboxErrorBody } from '../errors.ts';

/** Clients have classes of their own for these; older ones read `errorCode`, newer ones `code` with `source`. */
const FILE_CODES: Readonly<Record<number, string>> = {
  400: 'INVALID_FILE_PATH',
  403: 'FILE_ACCESS_DENIED',
  404: 'FILE_NOT_FOUND',
};

/** As `sendToolboxError`; what is wrong with a file, and not with the request or the sandbox, says so. */
export function sendFileError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const answer = errorAnswer(error, request);
  const isOfFile = error instanceof DarkroomError && 'file' in error.details;
  const body = isOfFile ? fileErrorBody(answer, request) : toolboxErrorBody(answer, request);
  reply.code(answer.statusCode).headers(answer.headers).type('application/json').send(JSON.stringify(body));
}

/** The content of a part that stands for a file which could not be read. */
export function describeFileError(error: unknown, request: FastifyRequest) {
  return fileErrorBody(errorAnswer(error, request), request, 'FILE_READ_FAILED');
}

function fileErrorBody(answer: ErrorAnswer, request: FastifyRequest, otherwise?: string) {
  const body = toolboxErrorBody(answer, request);
  const code = FILE_CODES[answer.statusCode] ?? otherwise ?? body.code;
  return { ...body, code, errorCode: code, source: 'DAYTONA_DAEMON' };
}
