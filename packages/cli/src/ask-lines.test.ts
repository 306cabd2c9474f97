import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { askLines } from './ask-server.ts';

let stateDir: string;
let server: Server | undefined;
beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'darkroom-lines-'));
});
afterEach(async () => {
  server?.close();
  server?.closeAllConnections();
  await rm(stateDir, { recursive: true, force: true });
});

async function linesOf(answer: (response: ServerResponse) => void): Promise<unknown[]> {
  server = createServer((_request, response) => answer(response)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  const credentials = { url, apiKey: 'secret', organizationId: '3a3a14ad-20e4-466b-aa7d-017f33f6ca6f' };
  await writeFile(join(stateDir, 'credentials.json'), JSON.stringify(credentials));
  const lines: unknown[] = [];
  for await (const line of askLines(stateDir, '/x', {})) lines.push(line);
  return lines;
}

test('lines are given as they are, however the bytes are cut', async () => {
  const lines = await linesOf((response) => {
    response.write('{"a":1}\n{"b"');
    setImmediate(() => response.end(':2}\n'));
  });
  expect(lines).toEqual([{ a: 1 }, { b: 2 }]);
});

test('an answer that breaks off is a failure, and so is one that was refused', async () => {
  const broken = linesOf((response) => {
    response.write('{"a":1}\n', () => response.destroy());
  });
  await expect(broken).rejects.toThrow(/broke off/);
  const refused = linesOf((response) => response.writeHead(409).end('{"message":"it is being looked at already"}'));
  await expect(refused).rejects.toThrow('answered 409: it is being looked at already');
});
