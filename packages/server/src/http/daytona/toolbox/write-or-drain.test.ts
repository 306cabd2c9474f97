import { Agent, request } from 'node:http';
import { pipeline } from 'node:stream/promises';
import multipart from '@fastify/multipart';
import fastify from 'fastify';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { writeOrDrain } from './write-or-drain.ts';

const SIZE = 4 * 1024 * 1024;
const app = () => fastify({ forceCloseConnections: true });
let server: ReturnType<typeof app>;
let agent: Agent;

const fullDisk = {
  write: async (_path: string, content: NodeJS.ReadableStream) =>
    pipeline(content, async (chunks) => {
      for await (const _ of chunks) throw new Error('no space');
    }),
};

beforeEach(async () => {
  agent = new Agent({ keepAlive: true, maxSockets: 1 });
  server = app();
  await server.register(multipart);
  server.post('/upload', async (incoming) => {
    const seen: string[] = [];
    for await (const part of incoming.parts({ limits: { fileSize: SIZE + 1 } })) {
      seen.push(part.fieldname);
      if (part.type === 'file') await writeOrDrain(fullDisk, '/x', part.file).catch(() => {});
    }
    return seen;
  });
  server.get('/next', async () => 'answered');
  await server.listen({ host: '127.0.0.1', port: 0 });
});

afterEach(async () => {
  agent.destroy();
  await server.close();
});

test('a part that cannot be written is read to its end: later parts are seen, and the connection serves the next request', async () => {
  const form = new FormData();
  form.append('file', new Blob([new Uint8Array(SIZE)]), 'file');
  form.append('after', 'x');
  const body = new Response(form);
  const type = body.headers.get('content-type') ?? '';
  const bytes = Buffer.from(await body.arrayBuffer());
  for (let round = 0; round < 5; round++) {
    expect(await ask('POST', '/upload', type, bytes)).toBe('["file","after"]');
    expect(await ask('GET', '/next')).toBe('answered');
  }
});

async function ask(method: string, path: string, type?: string, body?: Buffer): Promise<string> {
  const address = server.server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const headers = type === undefined ? {} : { 'content-type': type, 'content-length': String(body?.length) };
  request({ host: '127.0.0.1', port: address.port, method, path, agent, headers }, async (response) => {
    resolve(Buffer.concat(await response.toArray()).toString());
  })
    .on('error', reject)
    .end(body);
  return promise;
}
