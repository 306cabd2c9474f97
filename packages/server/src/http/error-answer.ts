import { STATUS_CODES } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import { databaseProblem } from '../platform/db/problems.ts';
import { DarkroomError, withHint } from '../platform/errors.ts';
import { validationMessage } from './validation-message.ts';

/** What any dialect shows of an error: it renders these and decides nothing. */
export interface ErrorAnswer {
  statusCode: number;
  /** The HTTP reason phrase. */
  reason: string;
  message: string;
  code: string;
  headers: Record<string, string>;
}

/** What cannot be reached comes back within moments, or not by waiting. */
const UNAVAILABLE_SECONDS = 1;

/** Translates whatever was thrown, and logs what the client must not see. */
export function errorAnswer(error: unknown, request: FastifyRequest): ErrorAnswer {
  const answer = describe(databaseProblem(error) ?? error);
  if (answer.statusCode >= 500 && !isPlainRefusal(error)) request.log.error({ err: error }, 'request failed');
  return answer;
}

/** The client has been told all of it, and nothing is broken. */
const isPlainRefusal = (error: unknown) =>
  error instanceof DarkroomError && error.isUserError && error.cause === undefined;

function describe(error: unknown): ErrorAnswer {
  if (error instanceof DarkroomError && error.isUserError) {
    const { retryAfterSeconds = error.code === 'unavailable' ? UNAVAILABLE_SECONDS : undefined } = error.details;
    return {
      ...answerOf(error.status, withHint(error), error.code),
      headers: typeof retryAfterSeconds === 'number' ? { 'retry-after': String(retryAfterSeconds) } : {},
    };
  }
  if (hasZodFastifySchemaValidationErrors(error)) {
    return answerOf(400, validationMessage(error.validation), 'invalid_request');
  }
  // Fastify's own refusals: a body too large, broken JSON, an unknown media type.
  const status = statusOf(error);
  if (error instanceof Error && status >= 400 && status < 500)
    return answerOf(status, error.message, 'invalid_request');
  return answerOf(500, 'An unexpected error occurred.', 'internal');
}

function answerOf(statusCode: number, message: string, code: string): ErrorAnswer {
  return { statusCode, reason: STATUS_CODES[statusCode] ?? 'Error', message, code, headers: {} };
}

function statusOf(error: unknown): number {
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number') return error.statusCode;
  return 500;
}
