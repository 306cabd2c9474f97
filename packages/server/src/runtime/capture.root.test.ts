import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { getXattr, MNT_DETACH, unmount } from '../platform/libc.ts';
import { fsFreeze } from '../platform/libc-block.ts';
import { mountDisk } from './container/disk/disk-image.ts';
import { loopDevicesOver } from './loop-devices.ts';
import { MIB, openLab, type SandboxLab } from './testing/sandbox-lab.ts';
import type { CapturedFiles } from './types.ts';

let lab: SandboxLab;
beforeAll(async () => {
  lab = await openLab(undefined, { imageBytes: 1024 * MIB });
});
afterAll(() => lab?.close());

const limits = { cpu: 1, memoryBytes: 256 * MIB, pids: 128, diskBytes: 128 * MIB };

/** Looks into the copy. */
async function within<T>(captured: CapturedFiles, look: (upper: string) => T): Promise<T> {
  try {
    if (captured.kind === 'tree') return look(captured.path);
    const target = join(lab.runDir, `look-${Math.random()}`);
    await mkdir(target);
    await mountDisk(join(captured.image, '..'), target);
    try {
      return look(join(target, 'upper'));
    } finally {
      unmount(target, MNT_DETACH);
      await rm(target, { recursive: true });
    }
  } finally {
    await captured.release();
  }
}

test.each([
  ['a disk', limits],
  ['a plain directory', { cpu: 1, memoryBytes: 256 * MIB, pids: 128 }],
])('what was written before a capture is in it, and the sandbox goes on, with %s', async (what, given) => {
  const id = `runs-${what.replaceAll(' ', '-')}`;
  await lab.start(id, { limits: given });
  await lab.sh(id, 'rm -r /root && mkdir /root && echo one > /root/one; chmod 640 /root/one');
  const captured = await lab.runtime.capture(id);
  expect(captured.pausedMs).toBeGreaterThanOrEqual(0);
  expect(await lab.sh(id, 'echo later > /root/later && cat /root/one')).toMatchObject({ stdout: 'one\n' });
  await within(captured, (upper) => {
    expect(readdirSync(join(upper, 'root'))).toEqual(['one']);
    expect(readFileSync(join(upper, 'root/one'), 'utf8')).toBe('one\n');
    expect(lstatSync(join(upper, 'root/one')).mode & 0o777).toBe(0o640);
    expect(getXattr(join(upper, 'root'), 'trusted.overlay.opaque')?.toString()).toBe('y');
  });
  expect(readdirSync(join(lab.poolRoot, 'tmp')).filter((name) => name.includes('copy-'))).toEqual([]);
});

test('one that is stopped is captured as it was, also when it was killed in the middle of writing', async () => {
  await lab.start('still', { limits });
  await lab.sh('still', 'echo kept > /root/file');
  await lab.runtime.stop('still', { graceMs: 0 });
  await within(await lab.runtime.capture('still'), (upper) => {
    expect(readFileSync(join(upper, 'root/file'), 'utf8')).toBe('kept\n');
  });
});

test('one that writes without end is captured, and waits only for a moment', async () => {
  await lab.start('busy', { limits });
  await lab.sh('busy', 'echo 0 > /root/f0');
  const writer = lab.sh('busy', 'i=1; while [ $i -lt 4000 ]; do echo $i > /root/f$i; i=$((i+1)); done; echo done');
  const captured = await lab.runtime.capture('busy');
  await within(captured, (upper) => {
    const names = readdirSync(join(upper, 'root'));
    // Each that is there is whole or has not been written to yet, and none is missing between others.
    expect(names.map((name) => Number(name.slice(1))).sort((a, b) => a - b)).toEqual(names.map((_, index) => index));
  });
  expect(await writer).toMatchObject({ stdout: 'done\n' });
});

test('a disk that a killed server left frozen goes on with the next one', async () => {
  await lab.start('iced', { limits });
  const target = join(lab.runDir, 'ice');
  await mkdir(target);
  await mountDisk(join(lab.poolRoot, 'sandboxes/iced'), target);
  await writeFile(join(lab.runDir, 'frozen/iced'), '');
  fsFreeze(target, true);
  unmount(target, MNT_DETACH);
  await lab.reopen();
  expect(await lab.sh('iced', 'echo on > /root/file && cat /root/file')).toMatchObject({ stdout: 'on\n' });
  expect(readdirSync(join(lab.runDir, 'frozen'))).toEqual([]);
});

test('one that never ran cannot be captured', async () => {
  await expect(lab.runtime.capture('nobody')).rejects.toMatchObject({ code: 'not_found' });
});

test('forks have the files of one moment, each its own from then on', async () => {
  await lab.start('parent', { limits });
  await lab.sh('parent', 'echo shared > /root/file');
  await lab.runtime.fork('parent', ['child-1', 'child-2']);
  await lab.start('child-1', { limits });
  await lab.start('child-2', { limits });
  await lab.sh('child-1', 'echo own >> /root/file');
  expect(await lab.sh('child-1', 'cat /root/file /etc/hostname')).toMatchObject({ stdout: 'shared\nown\nchild-1\n' });
  expect(await lab.sh('child-2', 'cat /root/file')).toMatchObject({ stdout: 'shared\n' });
  expect(await lab.sh('parent', 'cat /root/file')).toMatchObject({ stdout: 'shared\n' });
  await expect(lab.runtime.fork('parent', ['child-3', 'child-1'])).rejects.toMatchObject({ code: 'conflict' });
  expect(readdirSync(join(lab.poolRoot, 'sandboxes'))).not.toContain('child-3');
  const image = join(lab.poolRoot, 'sandboxes/child-1/disk.img');
  expect(await loopDevicesOver(image)).toHaveLength(1);
});

test('forks of a sandbox without a disk of its own have its files, too, the last as the first', async () => {
  const plain = { cpu: 1, memoryBytes: 256 * MIB, pids: 128 };
  await lab.start('flat', { limits: plain });
  await lab.sh('flat', 'echo shared > /root/file && ln /root/file /root/same');
  await lab.runtime.fork('flat', ['flat-1', 'flat-2', 'flat-3']);
  for (const id of ['flat-1', 'flat-3']) {
    await lab.start(id, { limits: plain });
    expect(await lab.sh(id, 'echo own >> /root/file && cat /root/same')).toMatchObject({ stdout: 'shared\nown\n' });
  }
  expect(await lab.sh('flat', 'cat /root/file')).toMatchObject({ stdout: 'shared\n' });
});
