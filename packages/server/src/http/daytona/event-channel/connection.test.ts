import { createServer, type Server } from 'node:http';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { serveConnection } from './connection.ts';
import { PING_MS, PONG_MS } from './protocol.ts';

let http: Server;
let sockets: WebSocketServer;
let url: string;
let mayEnter: boolean;
let ended: number;
let left: number;

beforeEach(async () => {
  mayEnter = true;
  ended = 0;
  left = 0;
  http = createServer();
  sockets = new WebSocketServer({ server: http });
  sockets.on('connection', (socket) =>
    serveConnection(socket, {
      admit: async () => (mayEnter ? { organizationId: 'one' } : { refused: 'Invalid credentials' }),
      join: () => () => {
        left++;
      },
      ended: () => {
        ended++;
      },
    }),
  );
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const address = http.address();
  url = `ws://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(async () => {
  vi.useRealTimers();
  sockets.close();
  for (const client of sockets.clients) client.terminate();
  await new Promise((resolve) => http.close(resolve));
});

async function client() {
  const socket = new WebSocket(url);
  const heard: string[] = [];
  let more = Promise.withResolvers<void>();
  socket.on('message', (data) => {
    heard.push(String(data));
    more.resolve();
  });
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  const until = async (start: string) => {
    while (!heard.some((text) => text.startsWith(start))) {
      await more.promise;
      more = Promise.withResolvers<void>();
    }
  };
  await until('0');
  socket.send('40{"token":"dtn_x"}');
  await until('40');
  return { socket, closed, until };
}

it('ends a client that does not answer a ping', async () => {
  const { closed, until } = await client();
  vi.advanceTimersByTime(PING_MS);
  await until('2');
  vi.advanceTimersByTime(PONG_MS);
  expect(await closed).toBe(1001);
  expect([ended, left]).toEqual([1, 1]);
});

it('ends a client whose key was taken away, at the next ping', async () => {
  const { closed } = await client();
  mayEnter = false;
  vi.advanceTimersByTime(PING_MS);
  expect(await closed).toBe(1008);
  expect([ended, left]).toEqual([1, 1]);
});

it('is not put off by answers to pings that were not sent', async () => {
  const { socket, closed } = await client();
  mayEnter = false;
  vi.advanceTimersByTime(PING_MS - 1);
  socket.send('3');
  // The answer to a ping of the protocol below comes after what was sent before it was heard.
  const heard = new Promise((resolve) => socket.once('pong', resolve));
  socket.ping();
  await heard;
  vi.advanceTimersByTime(1);
  expect(await closed).toBe(1008);
});

it('ends a client that shows no key', async () => {
  const socket = new WebSocket(url);
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  await new Promise((resolve) => socket.once('message', resolve));
  vi.advanceTimersByTime(10_000);
  expect(await closed).toBe(1008);
  expect([ended, left]).toEqual([1, 0]);
});
