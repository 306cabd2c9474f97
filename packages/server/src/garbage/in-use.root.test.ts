import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type RegistryServer, startRegistryServer } from '../images/testing/registry-server.ts';
import { makeImage } from '../images/testing/test-image.ts';
import { type BuildClient, buildClient } from '../test-support/build-client.ts';
import { busyboxWith } from '../test-support/layers.ts';
import { setUpServer } from '../test-support/set-up-server.ts';

/** Sweeps without grace never take what something that runs, or is about to, needs. */
let registry: RegistryServer;
beforeAll(async () => {
  registry = await startRegistryServer();
});
afterAll(() => registry?.close());
const lab = setUpServer();
const { client } = lab;
let builds: BuildClient;
beforeAll(async () => {
  builds = await buildClient(lab.server, client, lab.organizationId);
});

let made = 0;
/** Of a layer that nothing else has. */
async function newSnapshot(): Promise<string> {
  // Until its row is there.
  using _hold = lab.server.layers.hold();
  const name = `own-${++made}`;
  const layer = busyboxWith(name, (directory) => writeFile(join(directory, 'mine'), name));
  return await lab.server.addSnapshot(lab.organizationId, layer, { name });
}

const sweep = async () => (await lab.server.garbage.collect({ withoutGrace: true })).items.map(({ id }) => id);
const run = async (id: string, command: string) =>
  (await client.post(`/toolbox/${id}/process/execute`, { command })).body.result;
const layersOf = async (table: 'snapshots' | 'sandboxes', id: string) =>
  (await lab.server.db.selectFrom(table).select('layers').where('id', '=', id).executeTakeFirstOrThrow()).layers ?? [];
const stored = async () => new Set((await lab.server.layers.list()).map(({ diffId }) => diffId));
/** Of rows that a job takes away. */
async function gone(table: 'snapshots' | 'sandboxes', id: string): Promise<void> {
  for (;;) {
    const row = await lab.server.db.selectFrom(table).select('state').where('id', '=', id).executeTakeFirst();
    if (row === undefined || row.state === 'destroyed') return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('a sandbox that runs keeps its layers when its snapshot is deleted, also stopped and started again', async () => {
  const name = await newSnapshot();
  const { body: snapshot } = await client.get(`/api/snapshots/${name}`);
  const { body: sandbox } = await client.post('/api/sandbox', { snapshot: name });
  const [layer = ''] = await layersOf('sandboxes', sandbox.id);
  await client.delete(`/api/snapshots/${snapshot.id}`);
  await gone('snapshots', snapshot.id);
  expect(await sweep()).not.toContain(layer);
  expect(await run(sandbox.id, 'cat /mine')).toBe(name);
  await client.post(`/api/sandbox/${sandbox.id}/stop`);
  expect(await sweep()).not.toContain(layer);
  await client.post(`/api/sandbox/${sandbox.id}/start`);
  expect(await run(sandbox.id, 'cat /mine')).toBe(name);
  await client.delete(`/api/sandbox/${sandbox.id}`);
  await gone('sandboxes', sandbox.id);
  expect(await sweep()).toContain(layer);
});

test('pulls, builds, captures, forks and starts lose nothing to sweeps that never end', async () => {
  const image = makeImage([{ files: { 'a/': '', 'a/one': '1' } }, { files: { two: '2' } }, { files: { three: '3' } }]);
  await registry.push('team/app:1', image);
  let isDone = false;
  let sweeps = 0;
  const sweeping = (async () => {
    while (!isDone) {
      await sweep();
      sweeps++;
    }
  })();

  async function startOfWhatIsDeleted(): Promise<void> {
    const name = await newSnapshot();
    const [{ body: sandbox }] = await Promise.all([
      client.post('/api/sandbox', { snapshot: name }),
      client.delete(`/api/snapshots/${name}`),
    ]);
    // Whichever was first: it is refused, or it runs.
    if (sandbox.id !== undefined) expect(await run(sandbox.id, 'cat /mine')).toBe(name);
    else expect(sandbox.message).toMatch(/not found|removing|not on this machine/);
  }

  async function captureAndFork(): Promise<void> {
    const { body: sandbox } = await client.post('/api/sandbox', { snapshot: await newSnapshot() });
    await run(sandbox.id, 'echo captured > /file');
    const { status } = await client.post(`/api/sandbox/${sandbox.id}/snapshot`, { name: `of-${sandbox.id}` });
    expect(status).toBeLessThan(300);
    const [{ body: forked }] = await Promise.all([
      client.post(`/api/sandbox/${sandbox.id}/fork`, {}),
      client.delete(`/api/snapshots/${sandbox.snapshot}`),
    ]);
    expect(await run(forked.id, 'cat /file')).toBe('captured\n');
    const { body: copy } = await client.post('/api/sandbox', { snapshot: `of-${sandbox.id}` });
    expect(await run(copy.id, 'cat /file')).toBe('captured\n');
  }

  async function build(name: string): Promise<void> {
    const id = await builds.create(name, ['RUN echo one > /one', `RUN echo ${name} > /two`]);
    await builds.log(`/api/snapshots/${id}`);
    const { body: sandbox } = await client.post('/api/sandbox', { snapshot: name });
    expect(await run(sandbox.id, 'cat /one /two')).toBe(`one\n${name}\n`);
  }

  async function pull(name: string): Promise<void> {
    const { body } = await client.post('/api/snapshots', { name, imageName: `${registry.host}/team/app:1` });
    const watch = () =>
      lab.server.db.selectFrom('snapshots').select('state').where('id', '=', body.id).executeTakeFirst();
    while (['pending', 'pulling'].includes((await watch())?.state ?? '')) await new Promise((r) => setTimeout(r, 20));
    expect(await watch()).toEqual({ state: 'active' });
    const layers = await layersOf('snapshots', body.id);
    expect(layers.length).toBe(3);
    expect([...(await stored())]).toEqual(expect.arrayContaining(layers));
  }

  try {
    await Promise.all([
      startOfWhatIsDeleted(),
      startOfWhatIsDeleted(),
      startOfWhatIsDeleted(),
      captureAndFork(),
      build('first'),
      build('second'),
      pull('pulled'),
    ]);
  } finally {
    isDone = true;
    await sweeping;
  }
  expect(sweeps).toBeGreaterThan(1);
}, 120_000);
