import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { holdBackWhileUnread } from './unread-answers.ts';

const MAX = 1024 * 1024;
const ANSWER = Buffer.alloc(64 * 1024, 'a');

const QUESTION = Buffer.alloc(4 * 1024, '?');
const QUESTIONS = 1_000;

test('who asks and does not read is asked to wait, and gets every answer in the end', async () => {
  let [most, asked, answered] = [0, 0, 0];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (piece) => {
      for (asked += piece.length; answered < Math.floor(asked / QUESTION.length); answered += 1) socket.write(ANSWER);
      most = Math.max(most, socket.writableLength);
    });
    holdBackWhileUnread(socket, MAX);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const client = connect(address.port, '127.0.0.1');
  client.pause();
  for (let left = QUESTIONS; left > 0; left -= 1) client.write(QUESTION);
  // It is the server that does not take them: nothing is read here.
  await expect.poll(() => most, { timeout: 10_000 }).toBeGreaterThan(MAX);
  let got = 0;
  for await (const piece of client) {
    got += piece.length;
    if (got === QUESTIONS * ANSWER.length) break;
  }
  expect(answered).toBe(QUESTIONS);
  // What was asked in one piece is answered in one.
  expect(most).toBeLessThan(MAX + 17 * ANSWER.length);
  client.destroy();
  server.close();
});
