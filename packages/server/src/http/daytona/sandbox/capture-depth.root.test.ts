import { afterEach, expect, test } from 'vitest';
import { armFailpoints } from '../../../platform/failpoints.ts';
import { busybox } from '../../../test-support/layers.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

const lab = setUpServer({ layer: busybox });
const { client, snapshot: base } = lab;
afterEach(() => armFailpoints(''));

async function create(snapshot: string): Promise<string> {
  const { status, body } = await client.post('/api/sandbox', { snapshot });
  expect([status, body.state], JSON.stringify(body)).toEqual([200, 'started']);
  return body.id;
}
const run = async (id: string, command: string) =>
  (await client.post(`/toolbox/${id}/process/execute`, { command })).body.result;
const layersOf = async (name: string) =>
  (await lab.server.db.selectFrom('snapshots').select('layers').where('name', '=', name).executeTakeFirst())?.layers ??
  [];

/** Each level has a file of its own and lacks that of three before. */
async function captureLevels(name: string, from: string, first: number, last: number): Promise<string> {
  let below = from;
  for (let level = first; level <= last; level += 1) {
    const id = await create(below);
    await run(id, `sh -c "echo ${level} > /root/f${level}; rm -f /root/f${level - 3}"`);
    below = `${name}-${level}`;
    expect((await client.post(`/api/sandbox/${id}/snapshot`, { name: below })).status).toBe(200);
    await client.delete(`/api/sandbox/${id}`);
  }
  return below;
}

async function expectFiles(snapshot: string, files: string): Promise<void> {
  const id = await create(snapshot);
  expect(await run(id, 'ls /root')).toBe(files);
  await client.delete(`/api/sandbox/${id}`);
}

test('captures of captures work while they cannot be put together', async () => {
  armFailpoints('flatten.merged=error');
  const last = await captureLevels('fails', base, 1, 8);
  expect(await layersOf(last)).toHaveLength(9);
  await expectFiles(last, 'f6\nf7\nf8\n');
});

test('while layers are put together their snapshots can be started, captured and deleted, and show the same afterwards', async () => {
  armFailpoints('flatten.merged=pause:3000@1');
  const sixth = await captureLevels('meanwhile', base, 1, 6);
  // The work goes on; all of this is in the middle of it.
  const gone = (await client.get('/api/snapshots/meanwhile-4')).body.id;
  expect((await client.delete(`/api/snapshots/${gone}`)).status).toBe(200);
  const running = await create(sixth);
  await captureLevels('meanwhile', sixth, 7, 7);
  // The seventh begins as the sixth did, and has its own layer over the one in the place of six.
  await expect.poll(async () => (await layersOf(sixth)).length, { timeout: 20_000 }).toBe(2);
  await expect.poll(async () => (await layersOf('meanwhile-7')).length, { timeout: 20_000 }).toBeLessThanOrEqual(3);
  await lab.server.garbage.collect({ withoutGrace: true });
  expect(await run(running, 'ls /root')).toBe('f4\nf5\nf6\n');
  await client.post(`/api/sandbox/${running}/stop`);
  await expect.poll(async () => (await client.get(`/api/sandbox/${running}`)).body.state).toBe('stopped');
  expect((await client.post(`/api/sandbox/${running}/start`)).status).toBe(200);
  expect(await run(running, 'ls /root')).toBe('f4\nf5\nf6\n');
  await client.delete(`/api/sandbox/${running}`);
  for (const [name, files] of [
    [sixth, 'f4\nf5\nf6\n'],
    ['meanwhile-7', 'f5\nf6\nf7\n'],
    ['meanwhile-3', 'f1\nf2\nf3\n'],
  ] as const)
    await expectFiles(name, files);
});
