import { once } from 'node:events';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerTo, openPreviewLab, type PreviewLab } from './testing/preview-lab.ts';

let lab: PreviewLab;
beforeAll(async () => {
  lab = await openPreviewLab({ idleSeconds: 2 });
}, 120_000);
afterAll(() => lab?.server.stop());

test('a program that does not answer is given up', async () => {
  expect((await lab.ask('/wait')).statusCode).toBe(504);
});

test('an answer in which nothing moves any more is cut', async () => {
  const events = await lab.ask('/events');
  await once(events, 'data');
  events.resume();
  await new Promise((resolve) => events.on('error', () => {}).on('close', resolve));
  expect(events.complete).toBe(false);
});

test('a client that does not send its body is given up, before the program is', async () => {
  const slow = lab.begin('/upload', { method: 'POST', headers: { 'content-length': '1000' } });
  slow.on('error', () => {});
  slow.write('some');
  expect((await answerTo(slow)).statusCode).toBe(408);
});

test('a connection that is taken by a WebSocket may be silent for longer', async () => {
  const socket = lab.openSocket('/ws', { 'x-daytona-preview-token': lab.token });
  await once(socket, 'open');
  expect((await lab.ask('/wait')).statusCode).toBe(504);
  socket.send('still here');
  expect(String((await once(socket, 'message'))[0])).toBe('still here');
  socket.terminate();
});

test('half a request line holds no place of anybody', async () => {
  const sockets = Array.from({ length: 200 }, () => connect(lab.serverPort(), '127.0.0.1'));
  for (const socket of sockets)
    socket.on('error', () => {}).write(`GET / HTTP/1.1\r\nHost: ${lab.hostOf(lab.sandboxId)}\r\n`);
  expect(JSON.parse(await text(await lab.ask('/there'))).path).toBe('/there');
  for (const socket of sockets) socket.destroy();
});
