import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, inject, test, vi } from 'vitest';
import { type Darkroom, jsonOf, startDarkroom } from '../../support/darkroom.ts';
import { eventually } from '../../support/eventually.ts';
import { EVERYTHING } from './how-much.ts';
import { makeSmallDisk, type SmallDisk } from './small-disk.ts';
import { addBase, underLoad } from './under-load.ts';

// A busy machine has the same to do.
vi.setConfig({ testTimeout: 300_000 });

/** A disk gets full while clients work, and is made room on afterwards. Nobody starts the server again. */
const GIB = 2 ** 30;
const FULL_FOR_MS = 15_000;
/** So that what is asked for runs into the full disk. */
const NEVER_REFUSES = { refuseAtPercent: 101 };
let darkroom: Darkroom | undefined;
const disks: SmallDisk[] = [];

afterEach(async () => {
  for (const disk of disks) await disk.makeRoom();
  await darkroom?.destroy();
  darkroom = undefined;
  for (const disk of disks.splice(0).reverse()) await disk.remove();
});

async function addDisk(...options: Parameters<typeof makeSmallDisk>): Promise<SmallDisk> {
  const disk = await makeSmallDisk(...options);
  disks.push(disk);
  return disk;
}

async function serve(stateDir: string, pool: { maxBytes?: number; refuseAtPercent?: number }): Promise<Darkroom> {
  darkroom = await startDarkroom({
    stateDir,
    config: {
      registries: { mirrors: { 'docker.io': [inject('registryUrl')] } },
      pool,
    },
  });
  await addBase(darkroom, inject('baseImage'));
  return darkroom;
}

/** Fills the disk under load for a while; a sandbox that runs already is used all the time. */
async function fillUnderLoad(server: Darkroom, disk: SmallDisk, commandsAnswer: readonly number[]): Promise<void> {
  const kept = await jsonOf<{ id: string }>(server.api('/sandbox', { method: 'POST', body: { snapshot: 'base' } }));
  const execute = async (command: string) => {
    const answer = await fetch(`${server.url}/toolbox/${kept.id}/process/execute`, {
      method: 'POST',
      headers: { authorization: `Bearer ${server.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ command }),
      signal: AbortSignal.timeout(60_000),
    });
    return { status: answer.status, text: await answer.text() };
  };
  await execute('sh -c "echo before > /root/before; sync"');
  await underLoad(server, { image: inject('baseImage'), mayAnswer: [503, 507] }, async () => {
    try {
      await disk.fill();
      const until = performance.now() + FULL_FOR_MS;
      while (performance.now() < until) {
        const { status, text } = await execute('cat /root/before');
        expect([200, ...commandsAnswer], text).toContain(status);
        if (status === 200) expect(JSON.parse(text)).toMatchObject({ exitCode: 0, result: 'before\n' });
        expect((await fetch(`${server.url}/health`)).status).toBe(200);
        await disk.fill();
        await delay(200);
      }
    } finally {
      await disk.makeRoom();
    }
    await eventually('the server is ready', async () =>
      (await fetch(`${server.url}/health/ready`)).status === 200 ? true : undefined,
    );
  });
  expect(JSON.parse((await execute('cat /root/before')).text)).toMatchObject({ result: 'before\n' });
}

test.runIf(EVERYTHING)('the disk with everything on it: database, pool image, logs', async () => {
  const disk = await addDisk({ bytes: 3 * GIB, fileSystem: 'ext4' });
  const server = await serve(join(disk.path, 'state'), { maxBytes: 2 * GIB });
  await fillUnderLoad(server, disk, [503]);
});

test('the same, and what is asked for runs into it', async () => {
  const disk = await addDisk({ bytes: 3 * GIB, fileSystem: 'ext4' });
  const server = await serve(join(disk.path, 'state'), { maxBytes: 2 * GIB, ...NEVER_REFUSES });
  await fillUnderLoad(server, disk, [503]);
});

test.runIf(EVERYTHING)('the disk of the database alone', async () => {
  const state = await addDisk({ bytes: 1.5 * GIB, fileSystem: 'ext4' });
  const stateDir = join(state.path, 'state');
  await mkdir(join(stateDir, 'pool'), { recursive: true });
  await addDisk({ bytes: 2 * GIB, fileSystem: 'xfs', at: join(stateDir, 'pool') });
  const server = await serve(stateDir, NEVER_REFUSES);
  await fillUnderLoad(server, state, [503]);
});

test.runIf(EVERYTHING)('the pool alone', async () => {
  const state = await addDisk({ bytes: 1.5 * GIB, fileSystem: 'ext4' });
  const stateDir = join(state.path, 'state');
  await mkdir(join(stateDir, 'pool'), { recursive: true });
  const pool = await addDisk({ bytes: 1.2 * GIB, fileSystem: 'xfs', at: join(stateDir, 'pool') });
  const server = await serve(stateDir, NEVER_REFUSES);
  // The database is all right, so commands are.
  await fillUnderLoad(server, pool, []);
});
