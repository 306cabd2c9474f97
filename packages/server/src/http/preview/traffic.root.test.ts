import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent } from 'node:http';
import { Readable } from 'node:stream';
import { json, text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type WebSocket from 'ws';
import { answerTo, type Echo, headersOf, openPreviewLab, PER_SANDBOX, type PreviewLab } from './testing/preview-lab.ts';

let lab: PreviewLab;
beforeAll(async () => {
  lab = await openPreviewLab();
}, 120_000);
afterAll(() => lab?.server.stop());

describe('requests', () => {
  test('reach the program as they were sent, with who and where as headers', async () => {
    const seen = await lab.echo('/a%2Fb//c?x=1&x=2', {
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
    expect(headers.get('host')).toBe(lab.hostOf(lab.sandboxId));
    expect(headers.get('x-forwarded-host')).toBe(lab.hostOf(lab.sandboxId));
    expect(headers.get('x-forwarded-proto')).toBe('http');
    expect(headers.get('x-forwarded-for')).toMatch(/127\.0\.0\.1$/);
    expect(headers.has('x-gone')).toBe(false);
  });

  test('below a path: the program sees its own paths, and answers lead back below it', async () => {
    const host = `127.0.0.1:${lab.serverPort()}`;
    const prefix = `/preview/${lab.sandboxId}/3000`;
    const seen = await lab.echo(`${prefix}?q=1`, { host });
    expect(seen.path).toBe('/?q=1');
    expect(headersOf(seen).get('x-forwarded-prefix')).toBe(prefix);
    const moved = await lab.ask(`${prefix}/redirect`, { host });
    expect(moved.headers.location).toBe(`${prefix}/login?next=1`);
    expect(moved.headers['content-security-policy']).toMatch(/^sandbox (?!.*allow-same-origin)/);
    const { headers } = await lab.ask(`${prefix}/cookies`, { host });
    expect(headers['set-cookie']).toEqual([`a=1; Path=${prefix}/`, `b=2; Path=${prefix}/`]);
    expect((await lab.ask('/cookies')).headers['set-cookie']).toEqual(['a=1; Path=/', 'b=2']);
  });

  test('stream both ways: 50 MB up, chunked, with trailers, and nothing without an end held back', async () => {
    const block = randomBytes(1024 * 1024);
    const digest = createHash('sha256');
    for (let i = 0; i < 50; i += 1) digest.update(block);
    const upload = lab.begin('/upload', { method: 'POST' });
    const answer = answerTo(upload);
    await pipeline(Readable.from(Array.from({ length: 50 }, () => block)), upload);
    expect(await json(await answer)).toEqual([50 * block.length, digest.digest('hex')]);

    const withTrailers = lab.begin('/', { method: 'POST', headers: { trailer: 'x-sum' } });
    withTrailers.addTrailers({ 'x-sum': '42' });
    withTrailers.end('body');
    expect(((await json(await answerTo(withTrailers))) as Echo).trailers).toEqual(['x-sum: 42']);
    const trailed = await lab.ask('/trailers');
    expect(await text(trailed)).toBe('body');
    expect(trailed.trailers).toEqual({ 'x-end': 'reached' });

    const events = await lab.ask('/gate');
    const pieces: string[] = [];
    for await (const piece of events) {
      if (pieces.push(String(piece)) === 1) await lab.ask('/open-gate', { method: 'POST' });
    }
    expect(pieces).toEqual(['data: first\n\n', 'data: second\n\n']);
  });

  test('HEAD, early hints, large heads, and a client that waits to be asked for its body', async () => {
    const head = await lab.ask('/', { method: 'HEAD' });
    expect([head.statusCode, Number(head.headers['content-length']) > 0, await text(head)]).toEqual([200, true, '']);
    const early = lab.begin('/early');
    const [hint, earlyAnswer] = [once(early, 'information'), answerTo(early)];
    early.end();
    expect((await hint)[0]).toMatchObject({ statusCode: 103, headers: { link: '</a.css>; rel=preload' } });
    expect((await earlyAnswer).statusCode).toBe(200);
    expect((await lab.ask('/large-head', { maxHeaderSize: 65_536 })).headers['x-large']).toHaveLength(30_000);
    const careful = lab.begin('/', { method: 'POST', headers: { expect: '100-continue', 'content-length': '4' } });
    careful.flushHeaders();
    await once(careful, 'continue');
    careful.end('body');
    expect(((await json(await answerTo(careful))) as Echo).body).toBe('body');
    const refused = lab.begin('/refuse', {
      method: 'POST',
      headers: { expect: '100-continue', 'content-length': '4' },
    });
    refused.flushHeaders();
    expect((await answerTo(refused)).statusCode).toBe(417);
    refused.on('error', () => {}).destroy();
  });

  test('do not wait for each other, nor for one whose client is gone', async () => {
    const waiting = Array.from({ length: 20 }, () => lab.begin('/events').on('error', () => {}));
    for (const one of waiting) one.end();
    const streams = await Promise.all(waiting.map(answerTo));
    await Promise.all(streams.map((stream) => once(stream, 'data')));
    const agent = new Agent({ keepAlive: true, maxSockets: 10 });
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => lab.echo(`/${i}`, { agent })));
    expect(answers.map(({ path }) => path)).toEqual(Array.from({ length: 200 }, (_, i) => `/${i}`));
    agent.destroy();
    for (const one of waiting) one.destroy();
    // Their places are free again, all of them.
    await expect
      .poll(async () => {
        const all = await Promise.all(Array.from({ length: PER_SANDBOX }, () => lab.ask('/')));
        return all.every(({ statusCode }) => statusCode === 200);
      })
      .toBe(true);
  });
});

describe('WebSockets', () => {
  test('carry messages both ways, by host and by path, until one side closes', async () => {
    const bySign = { 'x-daytona-preview-token': lab.token };
    for (const connect of [
      () => lab.openSocket('/ws', bySign),
      () => lab.openSocket(`/ws?DAYTONA_SANDBOX_AUTH_KEY=${lab.token}`),
      () => lab.openSocket(`/preview/${lab.sandboxId}/3000/ws`, bySign, `localhost:${lab.serverPort()}`),
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
    expect(await refusal(lab.openSocket('/ws'))).toBe(401);
    expect(
      await refusal(lab.openSocket('/ws', { authorization: `Bearer ${lab.key}` }, lab.hostOf(lab.sandboxId, 4711))),
    ).toBe(502);
    expect(await refusal(lab.openSocket('/ws', {}, lab.hostOf('nobody')))).toBe(404);
    expect(await refusal(lab.openSocket('/refuse', { 'x-daytona-preview-token': lab.token }))).toBe(200);
  });

  test('end with their sandbox, and with the server', async () => {
    const brief = (await lab.api.post('/api/sandbox', {})).body.id;
    await lab.startProgram(brief);
    const socket = lab.openSocket('/ws', { authorization: `Bearer ${lab.key}` }, lab.hostOf(brief));
    await once(socket, 'open');
    const closed = once(socket, 'close');
    await lab.api.post(`/api/sandbox/${brief}/stop?force=true`);
    await closed;
    await lab.api.delete(`/api/sandbox/${brief}`);

    const kept = lab.openSocket('/ws', { 'x-daytona-preview-token': lab.token });
    await once(kept, 'open');
    const gone = once(kept, 'close');
    await lab.server.restart();
    await gone;
  });
});
