import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { fsFreeze } from '../../../platform/libc-block.ts';
import { loopDevicesOver } from '../../loop-devices.ts';
import { MIB, makeLabState, openLab, type SandboxLab } from '../../testing/sandbox-lab.ts';
import { layoutOf } from '../layout.ts';
import { mayResize } from './grow-disk.ts';
import { openSandboxDisks } from './sandbox-disks.ts';

let lab: SandboxLab | undefined;
let server: ChildProcess | undefined;
afterEach(async () => {
  server?.kill('SIGKILL');
  server = undefined;
  await lab?.close();
  lab = undefined;
});

const quiet = { info: () => {}, warn: () => {}, error: () => {} };
const limits = (diskMiB: number) => ({ cpu: 1, memoryBytes: 256 * MIB, pids: 128, diskBytes: diskMiB * MIB });
const holder = fileURLToPath(new URL('../../testing/hold-runtime.ts', import.meta.url));

/** In a mount namespace of its own, as servers are; killed without a chance to tidy up. */
async function serverThatDies(stateDir: string, ids: string[]): Promise<void> {
  const command = ['--mount', '--propagation', 'slave', process.execPath, holder, stateDir, ...ids];
  const child = spawn('unshare', command, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, LAB_DISK_BYTES: String(64 * MIB) },
  });
  server = child;
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  server = undefined;
}

test('a killed server leaves disks in use untouched, and the next reports, stops, starts and removes them', async () => {
  const stateDir = await makeLabState({ imageBytes: 1024 * MIB });
  await serverThatDies(stateDir, ['lives']);
  lab = await openLab(stateDir);
  const image = join(lab.poolRoot, 'sandboxes', 'lives', 'disk.img');
  expect(await loopDevicesOver(image)).toHaveLength(1);
  expect(
    await lab.sh(
      'lives',
      'cat /root/started; dd if=/dev/zero of=/root/big bs=1M count=20 2>/dev/null && sync && echo ok',
    ),
  ).toMatchObject({
    stdout: 'lives\nok\n',
  });
  expect((await lab.runtime.usage('lives')).disk?.usedBytes).toBeGreaterThan(20 * MIB);
  await lab.runtime.stop('lives', { graceMs: 0 });
  expect(await loopDevicesOver(image)).toEqual([]);
  await lab.start('lives', { limits: limits(64) });
  expect(await lab.sh('lives', 'cat /root/started')).toMatchObject({ stdout: 'lives\n' });
  await lab.runtime.remove('lives');
  expect(await readdir(join(lab.poolRoot, 'sandboxes'))).toEqual([]);
});

test('the disk of a running sandbox can be mounted a second time, to freeze it, and is the same file system', async () => {
  lab = await openLab(undefined, { imageBytes: 1024 * MIB });
  await lab.start('frozen', { limits: limits(32) });
  const disks = await openSandboxDisks({
    layout: layoutOf(lab.poolRoot, `${lab.runDir}/second`),
    idBase: 1_000_000_000,
    ready: 0,
    log: quiet,
  });
  await disks.withMounted('frozen', async (root) => {
    await lab?.sh('frozen', 'echo seen > /root/file');
    expect(await readdir(join(root, 'upper', 'root'))).toEqual(['file']);
    fsFreeze(root, true);
    fsFreeze(root, false);
  });
  expect(await loopDevicesOver(join(lab.poolRoot, 'sandboxes', 'frozen', 'disk.img'))).toHaveLength(1);
  expect(await lab.sh('frozen', 'echo more >> /root/file && cat /root/file')).toMatchObject({ stdout: 'seen\nmore\n' });
});

test('a disk grows at the next start, keeps its files, and never shrinks', async () => {
  lab = await openLab(undefined, { imageBytes: 1024 * MIB });
  await lab.start('grows', { limits: limits(32) });
  await lab.sh('grows', 'echo kept > /root/file');
  await lab.runtime.stop('grows', { graceMs: 0 });
  await lab.start('grows', { limits: limits(96) });
  expect(
    await lab.sh('grows', 'cat /root/file; dd if=/dev/zero of=/root/big bs=1M count=70 2>/dev/null && echo ok'),
  ).toMatchObject({
    stdout: 'kept\nok\n',
  });
  await lab.runtime.stop('grows', { graceMs: 0 });
  await lab.start('grows', { limits: limits(32) });
  expect((await lab.runtime.usage('grows')).disk?.totalBytes).toBeGreaterThan(80 * MIB);
});

test('a disk grows under a running sandbox where the kernel lets us, and says so where not', async () => {
  lab = await openLab(undefined, { imageBytes: 1024 * MIB });
  await lab.start('live', { limits: limits(32) });
  const resize = lab.runtime.resize('live', limits(96));
  if (await mayResize()) {
    await resize;
    expect(await lab.sh('live', 'dd if=/dev/zero of=/root/big bs=1M count=70 2>/dev/null && echo ok')).toMatchObject({
      stdout: 'ok\n',
    });
  } else {
    await expect(resize).rejects.toMatchObject({
      code: 'invalid_request',
      hint: expect.stringContaining('Stop the sandbox'),
    });
    expect(await lab.sh('live', 'echo fine > /root/file && cat /root/file')).toMatchObject({ stdout: 'fine\n' });
  }
});

test('when the pool is full, a sandbox below its own limit sees errors, and works again after a restart with room', async () => {
  lab = await openLab(undefined, { imageBytes: 512 * MIB });
  await lab.start('victim', { limits: limits(2048) });
  await lab.start('hog', { limits: limits(2048) });
  await lab.sh('victim', 'echo before > /root/file; sync');
  await lab.sh('hog', 'cat /dev/zero > /root/big; sync');
  await lab.sh('victim', 'for i in 1 2 3 4 5 6 7 8; do dd if=/dev/zero of=/root/f$i bs=1M count=8; sync; done');
  await lab.runtime.remove('hog');
  await lab.runtime.stop('victim', { graceMs: 0 });
  await lab.start('victim', { limits: limits(2048) });
  expect(
    await lab.sh(
      'victim',
      'cat /root/file; rm -f /root/f*; dd if=/dev/zero of=/root/again bs=1M count=8 2>/dev/null && sync && echo ok',
    ),
  ).toMatchObject({ stdout: 'before\nok\n' });
});
