import type { FastifyReply, FastifyRequest } from 'fastify';
import { notFound } from '../../platform/errors.ts';
import { type ErrorAnswer, errorAnswer } from '../error-answer.ts';

/** Errors of `/api` as Daytona's clients read them: `message` is always a string. */
export function sendApiError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const answer = errorAnswer(error, request);
  reply
    .code(answer.statusCode)
    .headers(answer.headers)
    .type('application/json')
    .send(
      JSON.stringify({
        path: request.url,
        timestamp: new Date().toISOString(),
        statusCode: answer.statusCode,
        error: answer.reason,
        message: answer.message,
      }),
    );
}

/** Errors of `/toolbox`, which has another shape. */
export function sendToolboxError(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const answer = errorAnswer(error, request);
  reply
    .code(answer.statusCode)
    .headers(answer.headers)
    .type('application/json')
    .send(JSON.stringify(toolboxErrorBody(answer, request)));
}

/** Also the content of a part that stands for a file which could not be read. */
export function toolboxErrorBody(answer: ErrorAnswer, request: FastifyRequest) {
  return {
    statusCode: answer.statusCode,
    message: answer.message,
    code: answer.code.toUpperCase(),
    timestamp: new Date().toISOString(),
    path: request.url,
    method: request.method,
  };
}

export function routeNotFound(request: FastifyRequest) {
  return notFound(`Cannot ${request.method} ${request.url}`);
}
