import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MNT_DETACH, MS_BIND, mount, unmount } from '../platform/libc.ts';
import { leaveMachine } from './leave-machine.ts';

let directory: string;
let parentRemoved: boolean;
const cgroups = {
  removeParent: async () => {
    parentRemoved = true;
  },
};

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-leave-'));
  parentRemoved = false;
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test('the run directory and the cgroup of a server without sandboxes go with it', async () => {
  const runDir = join(directory, 'run');
  await mkdir(join(runDir, 'containers'), { recursive: true });
  await leaveMachine(runDir, cgroups);
  expect(existsSync(runDir)).toBe(false);
  expect(parentRemoved).toBe(true);
});

test('what is still mounted in it is not deleted', async () => {
  const [runDir, pool] = [join(directory, 'run'), join(directory, 'pool')];
  await mkdir(join(runDir, 'pool'), { recursive: true });
  await mkdir(pool);
  await writeFile(join(pool, 'layer'), 'kept');
  mount(pool, join(runDir, 'pool'), null, MS_BIND, null);
  try {
    await leaveMachine(runDir, cgroups);
    expect(existsSync(join(pool, 'layer'))).toBe(true);
  } finally {
    unmount(join(runDir, 'pool'), MNT_DETACH);
  }
});
