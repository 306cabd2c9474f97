import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { json, text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answerTo, openPreviewLab, PER_SANDBOX, type PreviewLab } from './testing/preview-lab.ts';

let lab: PreviewLab;
beforeAll(async () => {
  lab = await openPreviewLab();
}, 120_000);
afterAll(() => lab?.server.stop());

describe('what goes wrong', () => {
  test('is said in words that tell what to do: JSON for programs, a page for browsers', async () => {
    const authorization = `Bearer ${lab.key}`;
    const nothing = await lab.ask('/', { host: lab.hostOf(lab.sandboxId, 4711), headers: { authorization } });
    expect(nothing.statusCode).toBe(502);
    expect(await json(nothing)).toMatchObject({
      statusCode: 502,
      message: 'Nothing listens on port 4711 of this sandbox. Start a server on it and try again.',
    });
    const accept = 'text/html,*/*';
    const page = await lab.ask('/', { host: lab.hostOf(lab.sandboxId, 4711), headers: { authorization, accept } });
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(await text(page)).toContain('Nothing listens on port 4711');
    for (const path of ['/reset', '/nonsense']) expect((await lab.ask(path)).statusCode, path).toBe(502);
    expect((await lab.ask('/bad-hints')).statusCode).toBe(200);
    for (const path of ['/bad-status', '/bad-reason']) expect((await lab.ask(path)).statusCode, path).toBe(502);
    const trailed = await lab.ask('/bad-trailer');
    expect(await text(trailed)).toBe('body');
    expect(Object.keys(trailed.trailers)).toEqual(['x-odd']);
    const half = await lab.ask('/half');
    await expect(text(half)).rejects.toThrow();
  });

  test('addresses that name no port of a sandbox reach neither a program nor the API', async () => {
    const wrong = [
      lab.hostOf(lab.sandboxId, 0),
      lab.hostOf(lab.sandboxId, 65_536),
      lab.hostOf('x'),
      `3000-${lab.sandboxId}.x.localhost`,
      `03000-${lab.sandboxId}.localhost`,
    ];
    for (const host of wrong) {
      for (const path of ['/', '/health', '/api/sandbox', `/toolbox/${lab.sandboxId}/work-dir`, '/docs']) {
        const answer = await lab.ask(path, { host, headers: { authorization: `Bearer ${lab.key}` } });
        expect([answer.statusCode, answer.headers['x-darkroom-preview']], host + path).toEqual([404, 'error']);
      }
    }
    expect((await lab.echo('/api/sandbox')).path).toBe('/api/sandbox');
    const unknown = lab.hostOf('0b0b0b0b-0b0b-4b0b-8b0b-0b0b0b0b0b0b');
    expect((await lab.ask('/', { host: unknown })).statusCode).toBe(404);
    expect((await lab.ask('/preview/nobody/3000/', { host: 'localhost' })).statusCode).toBe(404);
  });

  test('a sandbox that is stopped says so', async () => {
    const stopped = (await lab.api.post('/api/sandbox', {})).body.id;
    await lab.api.post(`/api/sandbox/${stopped}/stop?force=true`);
    const answer = await lab.ask('/', { host: lab.hostOf(stopped), headers: { authorization: `Bearer ${lab.key}` } });
    expect(answer.statusCode).toBe(400);
    expect(await json(answer)).toMatchObject({ message: expect.stringContaining('Sandbox is not running') });
    await lab.api.delete(`/api/sandbox/${stopped}`);
  });

  test('two messages in one are refused, not passed on', async () => {
    for (const framing of [
      'Content-Length: 4\r\nTransfer-Encoding: chunked',
      'Content-Length: 4\r\nContent-Length: 5',
    ]) {
      const socket = connect(lab.serverPort(), '127.0.0.1');
      socket.write(
        `POST / HTTP/1.1\r\nHost: ${lab.hostOf(lab.sandboxId)}\r\nX-Daytona-Preview-Token: ${lab.token}\r\n${framing}\r\n\r\n0\r\n\r\n`,
      );
      expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 /);
    }
  });

  test('a flood is refused at once, and harms neither the neighbour nor the server', async () => {
    const neighbour = (await lab.api.post('/api/sandbox', {})).body.id;
    const other = await lab.startProgram(neighbour);
    const held = Array.from({ length: PER_SANDBOX }, () => lab.begin('/events').on('error', () => {}));
    for (const one of held) one.end();
    const streams = await Promise.all(held.map(answerTo));
    await Promise.all(streams.map((stream) => once(stream, 'data')));
    const flood = Array.from({ length: 2000 }, async (_, i) => {
      const answer = await lab.ask(`/${i}`);
      answer.resume();
      return [answer.statusCode, answer.headers['retry-after']];
    });
    const theirs = lab.echo('/theirs', {
      host: lab.hostOf(neighbour),
      headers: { authorization: `Bearer ${lab.key}` },
    });
    expect(new Set((await Promise.all(flood)).map(String))).toEqual(new Set(['429,1']));
    expect((await theirs).path).toBe('/theirs');
    for (const one of held) one.destroy();
    await expect.poll(async () => (await lab.ask('/')).statusCode).toBe(200);
    await other.stop();
    await lab.api.delete(`/api/sandbox/${neighbour}`);
  });

  test('who reads slowly makes the program wait, not the server remember', async () => {
    const slow: Socket[] = [];
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 20; i += 1) {
      const socket = connect(lab.serverPort(), '127.0.0.1');
      socket.pause();
      socket.write(
        `GET /big HTTP/1.1\r\nHost: ${lab.hostOf(lab.sandboxId)}\r\nX-Daytona-Preview-Token: ${lab.token}\r\n\r\n`,
      );
      slow.push(socket);
    }
    // Each would bring a gigabyte; the server answers others meanwhile.
    for (let i = 0; i < 50; i += 1) expect((await lab.echo(`/${i}`)).path).toBe(`/${i}`);
    expect(process.memoryUsage.rss() - before).toBeLessThan(200 * 1024 * 1024);
    for (const socket of slow) socket.destroy();
    await expect.poll(async () => (await lab.ask('/')).statusCode).toBe(200);
  });
});
