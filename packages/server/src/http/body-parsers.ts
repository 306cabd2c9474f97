import type { FastifyInstance } from 'fastify';
import { DarkroomError, invalidRequest } from '../platform/errors.ts';
import { hasMoreValuesThan } from '../platform/json-size.ts';

/** The longest list that a route takes has 10,000. */
const MAX_VALUES = 50_000;

/**
 * Bodies as real clients send them: POSTs without one carry a form content type (axios) or a JSON one with no bytes.
 * Neither is an error. Keys that could reach an object's prototype are dropped.
 */
export function addBodyParsers(app: FastifyInstance): void {
  const parseJson = app.getDefaultJsonParser('remove', 'remove');
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser(/^application\/([\w.-]+\+)?json/, { parseAs: 'string' }, (request, body, done) => {
    const text = body.toString();
    if (text.trim() === '') return done(null, undefined);
    parseJson(request, text, (error, value) => {
      if (error) return done(invalidRequest('The body is not valid JSON'), undefined);
      if (hasMoreValuesThan(MAX_VALUES, value)) {
        return done(new DarkroomError('payload_too_large', `The body has more than ${MAX_VALUES} values`), undefined);
      }
      done(null, value);
    });
  });
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    const text = body.toString();
    done(null, text === '' ? undefined : Object.fromEntries(new URLSearchParams(text)));
  });
}
