import { existsSync } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, expect, inject, test, vi } from 'vitest';
import { type Darkroom, startDarkroom } from '../../support/darkroom.ts';
import { EVERYTHING } from './how-much.ts';
import { makeSmallDisk, type SmallDisk } from './small-disk.ts';
import { addBase, underLoad } from './under-load.ts';

// A busy machine has the same to do.
vi.setConfig({ testTimeout: 300_000 });

/** The disk with everything on it takes its time for a while: so many writes a second, of any size. */
const WRITES_PER_SECOND = 8;
const SLOW_FOR_MS = 25_000;
/** Of the first version: for every process, but for this device alone. */
const THROTTLE = '/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device';
let darkroom: Darkroom | undefined;
let disk: SmallDisk | undefined;

/** 0 lifts the limit. */
async function limitWrites({ device }: SmallDisk, perSecond: number): Promise<void> {
  const { rdev } = await stat(device);
  // As the kernel packs the numbers of a device.
  const major = (rdev >> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >> 12) & 0xfff00);
  await writeFile(THROTTLE, `${major}:${minor} ${perSecond}`);
}

afterEach(async () => {
  if (disk !== undefined) await limitWrites(disk, 0);
  await darkroom?.destroy();
  await disk?.remove();
});

test.runIf(EVERYTHING && existsSync(THROTTLE))(
  'a disk that is slow makes answers slow, and nothing else: each comes within its bound, and nothing piles up',
  async () => {
    const slow = await makeSmallDisk({ bytes: 3 * 2 ** 30, fileSystem: 'ext4' });
    disk = slow;
    const server = await startDarkroom({
      stateDir: join(slow.path, 'state'),
      config: {
        registries: { mirrors: { 'docker.io': [inject('registryUrl')] } },
        pool: { maxBytes: 2 * 2 ** 30 },
      },
    });
    darkroom = server;
    await addBase(server, inject('baseImage'));
    const load = await underLoad(server, { image: inject('baseImage'), mayAnswer: [408, 503] }, async () => {
      try {
        await limitWrites(slow, WRITES_PER_SECOND);
        const until = performance.now() + SLOW_FOR_MS;
        while (performance.now() < until) {
          const answer = await fetch(`${server.url}/health`, { signal: AbortSignal.timeout(5_000) });
          expect(answer.status).toBe(200);
          // Whether it is ready is a matter of opinion then; that it says so is none.
          const ready = await fetch(`${server.url}/health/ready`, { signal: AbortSignal.timeout(10_000) });
          expect([200, 503]).toContain(ready.status);
          await delay(500);
        }
      } finally {
        await limitWrites(slow, 0);
      }
    });
    // It was slow indeed.
    expect(Math.max(...load.asked.map(({ ms }) => ms))).toBeGreaterThan(1_000);
  },
);
