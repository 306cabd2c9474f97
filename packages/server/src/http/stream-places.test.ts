import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { AuthContext } from '../tenancy/auth-context.ts';
import { sendApiError } from './daytona/errors.ts';
import { streamAnswer } from './stream-answer.ts';
import { streamPlaces } from './stream-places.ts';

let app: FastifyInstance;
let url: string;
const leaving: AbortController[] = [];

beforeEach(async () => {
  app = Fastify();
  app.setErrorHandler(sendApiError);
  app.decorateRequest('auth', {
    getter(): AuthContext {
      const header = (name: string) => String(this.headers[name]);
      const identity = { organizationId: header('x-organization'), keyId: header('x-key'), userId: '' };
      return { ...identity, permissions: new Set(), isAdmin: false };
    },
  });
  await app.register(streamPlaces, { ofAKey: 2, ofAll: 4 });
  app.get('/stream', async (_request, reply) => {
    await streamAnswer(reply, { 'content-type': 'text/event-stream' }, endless(reply.raw));
    return reply;
  });
  url = await app.listen({ port: 0, host: '127.0.0.1' });
});
afterEach(async () => {
  for (const controller of leaving.splice(0)) controller.abort();
  app.server.closeAllConnections();
  await app.close();
});

/** As streams of events are: something now and then, until the client is gone. */
async function* endless(raw: NodeJS.EventEmitter): AsyncGenerator<string> {
  const gone = new Promise((resolve) => raw.once('close', resolve));
  yield 'data: 1\n\n';
  await gone;
}

function open(organization: string, key: string): { answer: Promise<Response>; leave(): void } {
  const controller = new AbortController();
  leaving.push(controller);
  const headers = { 'x-organization': organization, 'x-key': key };
  return { answer: fetch(`${url}/stream`, { headers, signal: controller.signal }), leave: () => controller.abort() };
}
const status = async (organization: string, key: string) => (await open(organization, key).answer).status;

it('gives a key only so many, refuses more with 429, and takes back what is closed', async () => {
  const first = open('one', 'a');
  expect((await first.answer).status).toBe(200);
  expect(await status('one', 'a')).toBe(200);
  const refused = await open('one', 'a').answer;
  expect(refused.status).toBe(429);
  expect(refused.headers.get('retry-after')).toBe('5');
  expect(await refused.json()).toMatchObject({ statusCode: 429, message: expect.stringContaining('2 streams') });
  expect(await status('two', 'b')).toBe(200);
  first.leave();
  await expect.poll(() => status('one', 'a')).toBe(200);
});

it('leaves others a part of them all, and refuses with 503 when there is none', async () => {
  expect(await status('one', 'a')).toBe(200);
  expect(await status('one', 'b')).toBe(200);
  expect(await status('one', 'c')).toBe(200);
  expect(await status('one', 'd')).toBe(503);
  expect(await status('two', 'e')).toBe(200);
});
