import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, request, type Server } from 'node:http';
import { connect, createServer, Socket, type Server as TcpServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, expect, test } from 'vitest';
import type { Exchange } from './exchange.ts';
import { forwardRequest } from './forward-request.ts';
import { forwardUpgrade, responseOn } from './forward-upgrade.ts';
import { answerProblem, toProblem } from './problem.ts';

const open: (Server | TcpServer)[] = [];
afterEach(() => {
  for (const server of open.splice(0)) server.close();
});

async function listening<T extends Server | TcpServer>(server: T): Promise<number> {
  open.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** A program that says these bytes to everybody, and what stands between it and the client. */
async function between(bytes: string, signal = new AbortController().signal): Promise<number> {
  const program = await listening(
    createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(Buffer.from(bytes, 'latin1')));
    }),
  );
  const exchangeFor = (message: IncomingMessage): Exchange => ({
    request: message,
    target: message.url ?? '/',
    socket: connect(program, '127.0.0.1').on('error', () => {}),
    forwarding: { host: 'x', protocol: 'http', prefix: '', hide: undefined, upgrade: false },
    relaying: { port: 3000, prefix: '', hide: undefined, setCookie: undefined },
    onAnswered() {},
    onTraffic() {},
    onEndless() {},
    signal,
  });
  const server = createHttpServer((message, response) => {
    forwardRequest(exchangeFor(message), response, { idleMs: 5_000, bodyStallMs: 5_000 }).catch((error: unknown) => {
      answerProblem(message, response, toProblem(error));
    });
  });
  server.on('upgrade', (message, socket, head) => {
    socket.on('error', () => {});
    if (!(socket instanceof Socket)) return void socket.destroy();
    forwardUpgrade(exchangeFor(message), socket, head, { answerMs: 5_000, idleMs: 5_000 }).catch((error: unknown) =>
      answerProblem(message, responseOn(message, socket), toProblem(error)),
    );
  });
  return listening(server);
}

async function said(port: number, head = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'): Promise<string> {
  const client = connect(port, '127.0.0.1');
  client.setEncoding('latin1').write(head);
  return text(client);
}

const hint = (link: string) => `HTTP/1.1 103 Early Hints\r\nLink: ${link}\r\n\r\n`;
const WISH = 'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
const ANSWER = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody';

test('links that no expression should look at cost nothing, and come as they were', async () => {
  const link = `</a.css>${';a===='.repeat(5_000)}"`;
  const answer = await said(await between(hint(link) + hint('</b.css>; rel=preload') + hint('none') + ANSWER));
  expect(answer).not.toContain(link);
  expect(answer).toContain('103 Early Hints\r\nLink: </b.css>; rel=preload\r\n\r\n');
  expect(answer).not.toContain('none');
  expect(answer).toMatch(/body$/);
  const short = `</a.css>${';a===='.repeat(40)}"`;
  expect(await said(await between(hint(short) + ANSWER))).toContain(`Link: ${short}\r\n`);
});

test('a program that never comes to its answer is given up, and few of its hints are passed on', async () => {
  const flood = await said(await between(hint('</a.css>; rel=preload').repeat(2_000) + ANSWER));
  expect(flood.match(/103 Early Hints/g)?.length).toBe(8);
  expect(flood).toContain('HTTP/1.1 502 ');
  for (const interim of ['102 Processing', '100 Continue']) {
    expect(await said(await between(`HTTP/1.1 ${interim}\r\n\r\n`.repeat(2_000) + ANSWER))).toMatch(/^HTTP\/1\.1 502 /);
  }
  expect(await said(await between('HTTP/1.1 102 Processing\r\n\r\n'.repeat(2_000)), WISH)).toMatch(/^HTTP\/1\.1 502 /);
});

test.each([
  ['a line that goes on', 'X-A: b\r\n X-Injected: c'],
  ['a carriage return alone', 'X-A: b\rX-Injected: c'],
  ['a control character', 'X-A: b\u0001c'],
  ['two lengths', 'Content-Length: 4\r\nContent-Length: 5'],
  ['a length and chunks', 'Transfer-Encoding: chunked\r\nContent-Length: 4'],
  ['a header of 100 KB', `X-A: ${'a'.repeat(100_000)}`],
])('%s in a head splits no answer', async (_what, header) => {
  const answer = await said(await between(`HTTP/1.1 200 OK\r\n${header}\r\n\r\n4\r\nbody\r\n0\r\n\r\n`));
  expect(answer).not.toMatch(/^X-Injected/m);
  expect(answer.match(/^HTTP\/1\.1 /gm)).toEqual(['HTTP/1.1 ']);
  expect(answer).toMatch(/^HTTP\/1\.1 502 /);
  const upgraded = await said(
    await between(`HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: x\r\n${header}\r\n\r\n`),
    'GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
  );
  expect(upgraded).not.toMatch(/^X-Injected/m);
});

test.each(['\u0001', '\u0000', '\u007f'])('a reason with %j in it is the program’s own trouble', async (letter) => {
  const port = await between(`HTTP/1.1 200 O${letter}K\r\nContent-Length: 4\r\n\r\nbody`);
  for (const head of [undefined, WISH]) expect(await said(port, head)).toMatch(/^HTTP\/1\.1 502 Bad Gateway\r\n/);
});

test('who wants another protocol gets half of a refusal as half of one', async () => {
  for (const end of ['', '4\r\nbo', '4\r\nbody\r\nx\r\n']) {
    const answer = await said(await between(`HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n${end}`), WISH);
    expect(answer).not.toContain('0\r\n\r\n');
    expect(answer.match(/^HTTP\/1\.1 /gm)?.length ?? 0).toBeLessThan(2);
  }
  const whole = await said(await between('HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno'), WISH);
  expect(whole).toMatch(/^HTTP\/1\.1 403 No\r\n.*\r\n\r\nno$/s);
});

test('more than was promised is not passed on, less breaks the answer off', async () => {
  const more = await said(await between(`${ANSWER}HTTP/1.1 200 OK\r\nX-Injected: a\r\n\r\n`));
  expect(more).not.toContain('X-Injected');
  const port = await between('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbody');
  const [less] = await once(request({ port, host: '127.0.0.1', agent: false }).end(), 'response');
  await expect(text(less)).rejects.toThrow();
});

test('who was not asked for another protocol does not speak it', async () => {
  const answer = await said(await between('HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nanything'));
  expect(answer).toMatch(/^HTTP\/1\.1 502 /);
});

test('whoever left while the program was being reached gives the place back', async () => {
  const port = await between(ANSWER, AbortSignal.abort());
  for (const head of [undefined, WISH]) expect(await said(port, head)).toMatch(/^HTTP\/1\.1 499 /);
});

test('a program does not speak in our name', async () => {
  const answer = await said(await between('HTTP/1.1 200 OK\r\nX-Darkroom-Preview: error\r\nContent-Length: 0\r\n\r\n'));
  expect(answer).not.toMatch(/x-darkroom-preview/i);
});
