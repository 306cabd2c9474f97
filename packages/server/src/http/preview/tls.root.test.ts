import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { beforeAll, expect, test } from 'vitest';
import WebSocket from 'ws';
import { z } from 'zod';
import { python } from '../../test-support/layers.ts';
import { setUpServer } from '../../test-support/set-up-server.ts';
import { startProgram } from './testing/program.ts';

/** A server that speaks https itself, and what it says of itself then. */
const lab = setUpServer({ tls: true, layer: python });
let ca: Buffer;
let sandboxId: string;
let link: z.infer<typeof linkSchema>;

const linkSchema = z.object({ url: z.string(), token: z.string() });
const echoSchema = z.object({ headers: z.array(z.tuple([z.string(), z.string()])) });

beforeAll(async () => {
  ca = await readFile(join(lab.server.stateDir, 'tls', 'ca.crt'));
  const headers = { authorization: `Bearer ${lab.apiKey}`, 'content-type': 'application/json' };
  const created = await ask(`${lab.server.url}/api/sandbox`, { method: 'POST', headers }, '{"networkBlockAll": true}');
  sandboxId = z.object({ id: z.string() }).parse(await json(created)).id;
  link = linkSchema.parse(
    await json(await ask(`${lab.server.url}/api/sandbox/${sandboxId}/ports/3000/preview-url`, { headers })),
  );
  await startProgram(lab.server.runtime, sandboxId, 3000);
});

/** Names below `localhost` lead to this machine. */
async function ask(address: string, options: RequestOptions = {}, body?: string): Promise<IncomingMessage> {
  const url = new URL(address);
  const sent = request({
    ...options,
    ...{ ca, agent: false, host: '127.0.0.1', port: url.port, path: url.pathname + url.search },
    servername: url.hostname === '127.0.0.1' ? '' : url.hostname,
    headers: { host: url.host, ...options.headers },
  });
  sent.end(body);
  const [answer] = await once(sent, 'response');
  return answer;
}

const token = () => ({ 'x-daytona-preview-token': link.token });

test('links are https, and the program hears that it is', async () => {
  expect(link.url).toBe(`https://3000-${sandboxId}.preview.localhost:${new URL(lab.server.url).port}`);
  const echo = echoSchema.parse(await json(await ask(link.url, { headers: token() })));
  const seen = new Map(echo.headers.map(([name, value]) => [name.toLowerCase(), value]));
  expect(seen.get('x-forwarded-proto')).toBe('https');
});

test('the cookie of a browser is only for https', async () => {
  const headers = { accept: 'text/html', 'sec-fetch-mode': 'navigate' };
  const answer = await ask(`${link.url}/?DAYTONA_SANDBOX_AUTH_KEY=${link.token}`, { headers });
  expect(answer.statusCode).toBe(307);
  const [cookie = ''] = answer.headers['set-cookie'] ?? [];
  expect(cookie).toContain('; Secure');
  const [value = ''] = cookie.split(';');
  expect((await ask(link.url, { headers: { cookie: value } })).statusCode).toBe(200);
});

test('WebSockets of the program go through', async () => {
  const { host, port } = new URL(link.url);
  const socket = new WebSocket(`wss://127.0.0.1:${port}/socket`, { ca, headers: { host, ...token() } });
  await once(socket, 'open');
  socket.send('hello');
  const [message] = await once(socket, 'message');
  expect(String(message)).toContain('hello');
  socket.close();
  await once(socket, 'close');
});

test('terminals go through', async () => {
  const headers = { authorization: `Bearer ${lab.apiKey}`, 'content-type': 'application/json' };
  const created = await ask(
    `${lab.server.url}/toolbox/${sandboxId}/process/pty`,
    { method: 'POST', headers },
    JSON.stringify({ id: 'one', cols: 80, rows: 24 }),
  );
  expect(created.statusCode).toBe(201);
  const { port } = new URL(lab.server.url);
  const socket = new WebSocket(`wss://127.0.0.1:${port}/toolbox/${sandboxId}/process/pty/one/connect`, {
    ca,
    headers: { authorization: `Bearer ${lab.apiKey}` },
  });
  const seen = new Promise<void>((resolve) => {
    let text = '';
    socket.on('message', (data) => {
      text += String(data);
      if (text.includes('7 is the answer')) resolve();
    });
  });
  await once(socket, 'open');
  socket.send('echo $((3 + 4)) is the answer\n');
  await seen;
  socket.close();
  await once(socket, 'close');
});
