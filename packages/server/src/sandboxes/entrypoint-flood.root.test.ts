import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { httpClient } from '../test-support/http-client.ts';
import { busybox } from '../test-support/layers.ts';
import { startTestServer, type TestServer } from '../test-support/test-server.ts';
import { LOG_FILE_BYTES } from './rotating-log.ts';

const PIECE_BYTES = 64 * 1024;

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
}, 120_000);
afterAll(() => server?.stop());

async function organization(entrypoint: string[]) {
  const id = await server.addOrganization();
  const client = httpClient(() => server.url, await server.addKey(id));
  const snapshot = await server.addSnapshot(id, busybox, { entrypoint });
  return { client, sandboxId: String((await client.post('/api/sandbox', { snapshot })).body.id) };
}

test('entry points that flood their logs fill two small files each, and the neighbour has its own log and its answers', async () => {
  const flooding = await organization(['/bin/sh', '-c', 'yes flood']);
  const neighbour = await organization(['/bin/sh', '-c', 'echo mine; exec sleep 1000']);
  const files = ['', '.1'].map((end) => join(server.spoolDirectory, 'entrypoints', `${flooding.sandboxId}.log${end}`));
  const look = () => Promise.all(files.map((file) => stat(file).catch(() => undefined)));
  const seen = new Set<number>();
  await expect
    .poll(
      async () => {
        const [, older] = await look();
        if (older !== undefined) seen.add(older.mtimeMs);
        for (const found of await look()) {
          if (found !== undefined) expect(found.size).toBeLessThanOrEqual(LOG_FILE_BYTES + PIECE_BYTES);
        }
        const answer = await neighbour.client.post(`/toolbox/${neighbour.sandboxId}/process/execute`, {
          command: 'echo on',
        });
        expect(answer.body.result).toBe('on\n');
        return seen.size;
      },
      { timeout: 30_000, interval: 100 },
    )
    .toBeGreaterThan(2);
  const logs = `process/session/entrypoint/logs`;
  const answer = await neighbour.client.send('GET', `/toolbox/${neighbour.sandboxId}/${logs}`);
  expect(await answer.text()).toBe('mine\n');
  await flooding.client.delete(`/api/sandbox/${flooding.sandboxId}`);
  await expect.poll(look, { timeout: 20_000 }).toEqual([undefined, undefined]);
});
