import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type ClientRequest, type IncomingMessage, type RequestOptions, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { json, text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type { PortPreviewUrlDto, SignedPortPreviewUrlDto } from '@darkroom/contract';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { type HttpClient, httpClient } from '../../test-support/http-client.ts';
import { addPython, fillWithBusybox, shiftOwners } from '../../test-support/root-file-system.ts';
import { startTestServer, TEST_ID_BASE, type TestServer } from '../../test-support/test-server.ts';
import { type Program, startProgram } from './testing/program.ts';

const PER_SANDBOX = 64;
let server: TestServer;
let api: HttpClient;
let key: string;
let otherKey: string;
let weakKey: string;
let sandboxId: string;
let token: string;
let program: Program;

const python = {
  name: 'python',
  async fill(directory: string) {
    await fillWithBusybox(directory);
    await addPython(directory);
    await shiftOwners(directory, TEST_ID_BASE);
  },
};

beforeAll(async () => {
  server = await startTestServer({
    preview: { maxConnectionsPerSandbox: PER_SANDBOX, maxConnections: 2 * PER_SANDBOX, domain: 'preview.test' },
  });
  const organizationId = await server.addOrganization();
  key = await server.addKey(organizationId);
  weakKey = await server.addKey(organizationId, ['write:snapshots']);
  otherKey = await server.addKey(await server.addOrganization());
  await server.addSnapshot(organizationId, python, { name: 'default' });
  api = httpClient(() => server.url, key);
  sandboxId = (await api.post('/api/sandbox', { networkBlockAll: true })).body.id;
  const link: PortPreviewUrlDto = (await api.get(`/api/sandbox/${sandboxId}/ports/3000/preview-url`)).body;
  token = link.token;
  program = await startProgram(server.runtime, sandboxId, 3000);
}, 120_000);
afterAll(() => server?.stop());

const serverPort = () => Number(new URL(server.url).port);
const hostOf = (name: string, port = 3000) => `${port}-${name}.localhost:${serverPort()}`;

interface Asked extends RequestOptions {
  host?: string;
  body?: string | Buffer;
}

/** To the server's address, whatever host is meant. Without options: the program, with the right token. */
function begin(path: string, { host = hostOf(sandboxId), headers = {}, ...options }: Asked = {}): ClientRequest {
  const shown = Array.isArray(headers) ? headers : { host, 'x-daytona-preview-token': token, ...headers };
  return request({ port: serverPort(), path, agent: false, ...options, headers: shown });
}

async function answerTo(sent: ClientRequest): Promise<IncomingMessage> {
  const [answer] = await once(sent, 'response');
  return answer;
}

async function ask(path: string, options: Asked = {}): Promise<IncomingMessage> {
  const sent = begin(path, options);
  sent.end(options.body);
  return answerTo(sent);
}

interface Echo {
  method: string;
  path: string;
  headers: [string, string][];
  body: string;
  trailers: string[] | null;
}

const echo = async (path: string, options: Asked = {}): Promise<Echo> => (await json(await ask(path, options))) as Echo;
const headersOf = ({ headers }: Echo) => new Map(headers.map(([name, value]) => [name.toLowerCase(), value]));
/** Nothing of ours in the request: what a stranger sends. */
const stranger = (headers: Record<string, string> = {}, host = hostOf(sandboxId)) => ({
  headers: ['host', host, ...Object.entries(headers).flat()],
});

describe('who may see a port', () => {
  test('a private one: only who shows the token, the cookie, a link, or a key of its organization that may', async () => {
    expect((await ask('/', stranger())).statusCode).toBe(401);
    expect((await ask('/', stranger({ 'x-daytona-preview-token': 'a'.repeat(32) }))).statusCode).toBe(401);
    expect((await ask('/', stranger({ cookie: `daytona-sandbox-auth=${token}` }))).statusCode).toBe(401);
    expect((await ask('/', stranger({ authorization: `Bearer ${otherKey}` }))).statusCode).toBe(401);
    expect((await ask('/', stranger({ authorization: `Bearer ${weakKey}` }))).statusCode).toBe(401);
    expect((await ask('/', stranger({ authorization: `Bearer ${key}` }))).statusCode).toBe(200);
    expect((await ask('/', stranger({ 'x-daytona-preview-token': token }))).statusCode).toBe(200);
    expect((await ask(`/?DAYTONA_SANDBOX_AUTH_KEY=${token}`, stranger())).statusCode).toBe(200);
  });

  test('a public one: everybody, until it is private again', async () => {
    const publicity = (isPublic: boolean) => api.post(`/api/sandbox/${sandboxId}/public/${isPublic}`);
    await publicity(true);
    await expect.poll(async () => (await ask('/', stranger())).statusCode, { timeout: 5_000 }).toBe(200);
    await publicity(false);
    await expect.poll(async () => (await ask('/', stranger())).statusCode, { timeout: 5_000 }).toBe(401);
  });

  test('a browser that comes with the key in the URL gets a cookie and an address without it', async () => {
    const page = { accept: 'text/html' };
    const target = `/a/b?x=1&DAYTONA_SANDBOX_AUTH_KEY=${token}&y=%20`;
    const answer = await ask(target, stranger(page));
    expect(answer.statusCode).toBe(307);
    expect(answer.headers.location).toBe('/a/b?x=1&y=%20');
    const [cookie = ''] = answer.headers['set-cookie'] ?? [];
    expect(cookie).toMatch(/; Path=\/; HttpOnly; SameSite=Lax$/);
    expect(cookie).not.toContain(token);
    const followed = await echo('/a/b', stranger({ cookie: `mine=1; ${cookie.split(';')[0]}; yours=2` }));
    expect(headersOf(followed).get('cookie')).toBe('mine=1; yours=2');
  });

  test('tokens and keys reach neither the program nor its logs', async () => {
    const seen = await echo(`/x?DAYTONA_SANDBOX_AUTH_KEY=${token}&a=b`, {
      headers: {
        authorization: `Bearer ${key}`,
        referer: `http://${hostOf(sandboxId)}/?DAYTONA_SANDBOX_AUTH_KEY=${token}`,
        'x-daytona-skip-preview-warning': 'true',
      },
    });
    expect(seen.path).toBe('/x?a=b');
    const all = JSON.stringify(seen);
    expect(all).not.toContain(token);
    expect(all).not.toContain(key);
    expect(all.toLowerCase()).not.toContain('x-daytona');
    expect(headersOf(await echo('/', { headers: { authorization: 'Bearer its-own' } })).get('authorization')).toBe(
      'Bearer its-own',
    );
  });
});

describe('signed links', () => {
  async function sign(seconds?: number): Promise<SignedPortPreviewUrlDto> {
    const query = seconds === undefined ? '' : `?expiresInSeconds=${seconds}`;
    return (await api.get(`/api/sandbox/${sandboxId}/ports/3000/signed-preview-url${query}`)).body;
  }
  const expire = (link: string, port = 3000) =>
    api.post(`/api/sandbox/${sandboxId}/ports/${port}/signed-preview-url/${link}/expire`);

  test('open one port without anything else, and the program does not see them', async () => {
    const link = await sign();
    expect(link).toMatchObject({ sandboxId, port: 3000 });
    expect(link.url).toBe(`http://3000-${link.token}.preview.test:${serverPort()}`);
    const host = new URL(link.url).host;
    const seen = await echo('/', stranger({ origin: `http://${host}`, referer: `http://${host}/a` }, host));
    expect(JSON.stringify(seen)).not.toContain(link.token);
    expect(headersOf(seen).get('host')).toBe(`3000-${sandboxId}.preview.test:${serverPort()}`);
    expect(headersOf(seen).get('origin')).toBe(`http://${headersOf(seen).get('host')}`);
    expect((await ask('/', stranger({}, hostOf(link.token, 3001)))).statusCode).toBe(401);
    const byPath = await echo(`/preview/${link.token}/3000/deep`, stranger({}, `127.0.0.1:${serverPort()}`));
    expect(byPath.path).toBe('/deep');
    expect(JSON.stringify(byPath)).not.toContain(link.token);
  });

  test('end by time, or when they are expired, which outlives the server; what they had opened is cut', async () => {
    const brief = await sign(1);
    await expect
      .poll(async () => (await ask('/', stranger({}, hostOf(brief.token)))).statusCode, { timeout: 10_000 })
      .toBe(401);
    const [kept, expired] = [await sign(3600), await sign(3600)];
    const events = await ask('/events', stranger({}, hostOf(expired.token)));
    await once(events, 'data');
    const cut = new Promise((resolve) => events.on('error', () => {}).on('close', resolve));
    expect((await expire(expired.token)).status).toBe(200);
    await cut;
    expect((await ask('/', stranger({}, hostOf(expired.token)))).statusCode).toBe(401);
    await program.stop();
    await server.restart();
    program = await startProgram(server.runtime, sandboxId, 3000);
    expect((await ask('/', stranger({}, hostOf(expired.token)))).statusCode).toBe(401);
    expect((await ask('/', stranger({}, hostOf(kept.token)))).statusCode).toBe(200);
    expect((await ask('/')).statusCode).toBe(200);
    // Another port's link is not ended by this one's number.
    expect((await expire(kept.token, 3001)).status).toBe(200);
    expect((await ask('/', stranger({}, hostOf(kept.token)))).statusCode).toBe(200);
  });

  test('bad numbers are refused in words, other organizations find nothing', async () => {
    const other = httpClient(() => server.url, otherKey);
    const path = `/api/sandbox/${sandboxId}/ports/3000`;
    for (const bad of ['0', '-1', '86401', '1.5', 'x']) {
      expect((await api.get(`${path}/signed-preview-url?expiresInSeconds=${bad}`)).status, bad).toBe(400);
    }
    for (const port of ['0', '65536', 'x', '1.5']) {
      expect((await api.get(`/api/sandbox/${sandboxId}/ports/${port}/preview-url`)).status, port).toBe(400);
    }
    expect((await other.get(`${path}/preview-url`)).status).toBe(404);
    expect((await other.get(`${path}/signed-preview-url`)).status).toBe(404);
    expect((await other.post(`${path}/signed-preview-url/${(await sign()).token}/expire`)).status).toBe(404);
  });
});

describe('requests', () => {
  test('reach the program as they were sent, with who and where as headers', async () => {
    const seen = await echo('/a%2Fb//c?x=1&x=2', {
      method: 'PROPFIND',
      body: 'text',
      headers: {
        'x-own': 'ünïcode'.normalize('NFC'),
        'x-forwarded-host': 'evil',
        connection: 'x-gone, keep-alive',
        'x-gone': '1',
      },
    });
    const headers = headersOf(seen);
    expect(seen).toMatchObject({ method: 'PROPFIND', path: '/a%2Fb//c?x=1&x=2', body: 'text' });
    expect(headers.get('host')).toBe(hostOf(sandboxId));
    expect(headers.get('x-forwarded-host')).toBe(hostOf(sandboxId));
    expect(headers.get('x-forwarded-proto')).toBe('http');
    expect(headers.get('x-forwarded-for')).toMatch(/127\.0\.0\.1$/);
    expect(headers.has('x-gone')).toBe(false);
  });

  test('below a path: the program sees its own paths, and answers lead back below it', async () => {
    const host = `127.0.0.1:${serverPort()}`;
    const prefix = `/preview/${sandboxId}/3000`;
    const seen = await echo(`${prefix}?q=1`, { host });
    expect(seen.path).toBe('/?q=1');
    expect(headersOf(seen).get('x-forwarded-prefix')).toBe(prefix);
    const moved = await ask(`${prefix}/redirect`, { host });
    expect(moved.headers.location).toBe(`${prefix}/login?next=1`);
    expect(moved.headers['content-security-policy']).toMatch(/^sandbox (?!.*allow-same-origin)/);
    const { headers } = await ask(`${prefix}/cookies`, { host });
    expect(headers['set-cookie']).toEqual([`a=1; Path=${prefix}/`, `b=2; Path=${prefix}/`]);
    expect((await ask('/cookies')).headers['set-cookie']).toEqual(['a=1; Path=/', 'b=2']);
  });

  test('stream both ways: 50 MB up, chunked, with trailers, and nothing without an end held back', async () => {
    const block = randomBytes(1024 * 1024);
    const digest = createHash('sha256');
    for (let i = 0; i < 50; i += 1) digest.update(block);
    const upload = begin('/upload', { method: 'POST' });
    const answer = answerTo(upload);
    await pipeline(Readable.from(Array.from({ length: 50 }, () => block)), upload);
    expect(await json(await answer)).toEqual([50 * block.length, digest.digest('hex')]);

    const withTrailers = begin('/', { method: 'POST', headers: { trailer: 'x-sum' } });
    withTrailers.addTrailers({ 'x-sum': '42' });
    withTrailers.end('body');
    expect(((await json(await answerTo(withTrailers))) as Echo).trailers).toEqual(['x-sum: 42']);
    const trailed = await ask('/trailers');
    expect(await text(trailed)).toBe('body');
    expect(trailed.trailers).toEqual({ 'x-end': 'reached' });

    const events = await ask('/gate');
    const pieces: string[] = [];
    for await (const piece of events) {
      if (pieces.push(String(piece)) === 1) await ask('/open-gate', { method: 'POST' });
    }
    expect(pieces).toEqual(['data: first\n\n', 'data: second\n\n']);
  });

  test('HEAD, early hints, large heads, and a client that waits to be asked for its body', async () => {
    const head = await ask('/', { method: 'HEAD' });
    expect([head.statusCode, Number(head.headers['content-length']) > 0, await text(head)]).toEqual([200, true, '']);
    const early = begin('/early');
    const [hint, earlyAnswer] = [once(early, 'information'), answerTo(early)];
    early.end();
    expect((await hint)[0]).toMatchObject({ statusCode: 103, headers: { link: '</a.css>; rel=preload' } });
    expect((await earlyAnswer).statusCode).toBe(200);
    expect((await ask('/large-head', { maxHeaderSize: 65_536 })).headers['x-large']).toHaveLength(30_000);
    const careful = begin('/', { method: 'POST', headers: { expect: '100-continue', 'content-length': '4' } });
    careful.flushHeaders();
    await once(careful, 'continue');
    careful.end('body');
    expect(((await json(await answerTo(careful))) as Echo).body).toBe('body');
    const refused = begin('/refuse', { method: 'POST', headers: { expect: '100-continue', 'content-length': '4' } });
    refused.flushHeaders();
    expect((await answerTo(refused)).statusCode).toBe(417);
    refused.on('error', () => {}).destroy();
  });

  test('do not wait for each other, nor for one whose client is gone', async () => {
    const waiting = Array.from({ length: 20 }, () => begin('/events').on('error', () => {}));
    for (const one of waiting) one.end();
    const streams = await Promise.all(waiting.map(answerTo));
    await Promise.all(streams.map((stream) => once(stream, 'data')));
    const agent = new Agent({ keepAlive: true, maxSockets: 10 });
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => echo(`/${i}`, { agent })));
    expect(answers.map(({ path }) => path)).toEqual(Array.from({ length: 200 }, (_, i) => `/${i}`));
    agent.destroy();
    for (const one of waiting) one.destroy();
    // Their places are free again, all of them.
    await expect
      .poll(async () => {
        const all = await Promise.all(Array.from({ length: PER_SANDBOX }, () => ask('/')));
        return all.every(({ statusCode }) => statusCode === 200);
      })
      .toBe(true);
  });
});

describe('what goes wrong', () => {
  test('is said in words that tell what to do: JSON for programs, a page for browsers', async () => {
    const nothing = await ask('/', { host: hostOf(sandboxId, 4711) });
    expect(nothing.statusCode).toBe(502);
    expect(await json(nothing)).toMatchObject({
      statusCode: 502,
      message: 'Nothing listens on port 4711 of this sandbox. Start a server on it and try again.',
    });
    const page = await ask('/', { host: hostOf(sandboxId, 4711), headers: { accept: 'text/html,*/*' } });
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(await text(page)).toContain('Nothing listens on port 4711');
    for (const path of ['/reset', '/nonsense']) expect((await ask(path)).statusCode, path).toBe(502);
    expect((await ask('/bad-hints')).statusCode).toBe(200);
    expect((await ask('/bad-status')).statusCode).toBe(502);
    const trailed = await ask('/bad-trailer');
    expect(await text(trailed)).toBe('body');
    expect(Object.keys(trailed.trailers)).toEqual(['x-odd']);
    const half = await ask('/half');
    await expect(text(half)).rejects.toThrow();
  });

  test('addresses that name no port of a sandbox reach neither a program nor the API', async () => {
    const wrong = [
      hostOf(sandboxId, 0),
      hostOf(sandboxId, 65_536),
      hostOf('x'),
      `3000-${sandboxId}.x.localhost`,
      `03000-${sandboxId}.localhost`,
    ];
    for (const host of wrong) {
      for (const path of ['/', '/health', '/api/sandbox', `/toolbox/${sandboxId}/work-dir`, '/docs']) {
        const answer = await ask(path, { host, headers: { authorization: `Bearer ${key}` } });
        expect([answer.statusCode, answer.headers['x-darkroom-preview']], host + path).toEqual([404, 'error']);
      }
    }
    expect((await echo('/api/sandbox')).path).toBe('/api/sandbox');
    const unknown = hostOf('0b0b0b0b-0b0b-4b0b-8b0b-0b0b0b0b0b0b');
    expect((await ask('/', { host: unknown })).statusCode).toBe(404);
    expect((await ask('/preview/nobody/3000/', { host: 'localhost' })).statusCode).toBe(404);
  });

  test('a sandbox that is stopped says so', async () => {
    const stopped = (await api.post('/api/sandbox', {})).body.id;
    await api.post(`/api/sandbox/${stopped}/stop?force=true`);
    const answer = await ask('/', { host: hostOf(stopped), headers: { authorization: `Bearer ${key}` } });
    expect(answer.statusCode).toBe(400);
    expect(await json(answer)).toMatchObject({ message: expect.stringContaining('Sandbox is not running') });
    await api.delete(`/api/sandbox/${stopped}`);
  });

  test('two messages in one are refused, not passed on', async () => {
    for (const framing of [
      'Content-Length: 4\r\nTransfer-Encoding: chunked',
      'Content-Length: 4\r\nContent-Length: 5',
    ]) {
      const socket = connect(serverPort(), '127.0.0.1');
      socket.write(
        `POST / HTTP/1.1\r\nHost: ${hostOf(sandboxId)}\r\nX-Daytona-Preview-Token: ${token}\r\n${framing}\r\n\r\n0\r\n\r\n`,
      );
      expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 /);
    }
  });

  test('a flood is refused at once, and harms neither the neighbour nor the server', async () => {
    const neighbour = (await api.post('/api/sandbox', {})).body.id;
    const other = await startProgram(server.runtime, neighbour, 3000);
    const held = Array.from({ length: PER_SANDBOX }, () => begin('/events').on('error', () => {}));
    for (const one of held) one.end();
    const streams = await Promise.all(held.map(answerTo));
    await Promise.all(streams.map((stream) => once(stream, 'data')));
    const flood = Array.from({ length: 2000 }, async (_, i) => {
      const answer = await ask(`/${i}`);
      answer.resume();
      return [answer.statusCode, answer.headers['retry-after']];
    });
    const theirs = echo('/theirs', { host: hostOf(neighbour), headers: { authorization: `Bearer ${key}` } });
    expect(new Set((await Promise.all(flood)).map(String))).toEqual(new Set(['429,1']));
    expect((await theirs).path).toBe('/theirs');
    for (const one of held) one.destroy();
    await expect.poll(async () => (await ask('/')).statusCode).toBe(200);
    await other.stop();
    await api.delete(`/api/sandbox/${neighbour}`);
  });

  test('who reads slowly makes the program wait, not the server remember', async () => {
    const slow: Socket[] = [];
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 20; i += 1) {
      const socket = connect(serverPort(), '127.0.0.1');
      socket.pause();
      socket.write(`GET /big HTTP/1.1\r\nHost: ${hostOf(sandboxId)}\r\nX-Daytona-Preview-Token: ${token}\r\n\r\n`);
      slow.push(socket);
    }
    // Each would bring a gigabyte; the server answers others meanwhile.
    for (let i = 0; i < 50; i += 1) expect((await echo(`/${i}`)).path).toBe(`/${i}`);
    expect(process.memoryUsage.rss() - before).toBeLessThan(200 * 1024 * 1024);
    for (const socket of slow) socket.destroy();
    await expect.poll(async () => (await ask('/')).statusCode).toBe(200);
  });
});

describe('WebSockets', () => {
  const open = (path: string, headers: Record<string, string> = {}, host = hostOf(sandboxId)) =>
    new WebSocket(`ws://127.0.0.1:${serverPort()}${path}`, { headers: { host, ...headers } });

  test('carry messages both ways, by host and by path, until one side closes', async () => {
    const bySign = { 'x-daytona-preview-token': token };
    for (const connect of [
      () => open('/ws', bySign),
      () => open(`/ws?DAYTONA_SANDBOX_AUTH_KEY=${token}`),
      () => open(`/preview/${sandboxId}/3000/ws`, bySign, `localhost:${serverPort()}`),
    ]) {
      const socket = connect();
      await once(socket, 'open');
      for (const size of [1, 1_000, 50_000]) {
        const message = randomBytes(size);
        socket.send(message);
        expect(message.equals((await once(socket, 'message'))[0])).toBe(true);
      }
      socket.close(4000);
      expect((await once(socket, 'close'))[0]).toBe(4000);
    }
  });

  test('are refused like requests, and get the program’s own refusal', async () => {
    const refusal = async (socket: WebSocket) => {
      socket.on('error', () => {});
      const [, answer] = await once(socket, 'unexpected-response');
      answer.resume();
      return answer.statusCode;
    };
    expect(await refusal(open('/ws'))).toBe(401);
    expect(await refusal(open('/ws', { 'x-daytona-preview-token': token }, hostOf(sandboxId, 4711)))).toBe(502);
    expect(await refusal(open('/ws', {}, hostOf('nobody')))).toBe(404);
    expect(await refusal(open('/refuse', { 'x-daytona-preview-token': token }))).toBe(200);
  });

  test('end with their sandbox, and with the server', async () => {
    const brief = (await api.post('/api/sandbox', {})).body.id;
    await startProgram(server.runtime, brief, 3000);
    const socket = open('/ws', { authorization: `Bearer ${key}` }, hostOf(brief));
    await once(socket, 'open');
    const closed = once(socket, 'close');
    await api.post(`/api/sandbox/${brief}/stop?force=true`);
    await closed;
    await api.delete(`/api/sandbox/${brief}`);

    const kept = open('/ws', { 'x-daytona-preview-token': token });
    await once(kept, 'open');
    const gone = once(kept, 'close');
    await server.restart();
    await gone;
  });
});
