import { existsSync } from 'node:fs';
import { open, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { tryLockFile } from '../../../platform/libc.ts';
import { loopDevicesOver } from '../../loop-devices.ts';
import { readMounts } from '../../mount-info.ts';
import { MIB, openLab, type SandboxLab } from '../../testing/sandbox-lab.ts';
import { holdAttached } from './disk-image.ts';

let lab: SandboxLab;
beforeAll(async () => {
  lab = await openLab(undefined, { imageBytes: 1024 * MIB });
});
afterAll(() => lab?.close());

const limits = (diskMiB: number) => ({ cpu: 1, memoryBytes: 256 * MIB, pids: 128, diskBytes: diskMiB * MIB });
const imageOf = (id: string) => join(lab.poolRoot, 'sandboxes', id, 'disk.img');

test('a write past the limit fails in that sandbox alone, and what is deleted can be written again', async () => {
  await lab.start('full', { limits: limits(32) });
  await lab.start('beside', { limits: limits(32) });
  const { stderr, exitCode } = await lab.sh('full', 'dd if=/dev/zero of=/root/big bs=1M count=64');
  expect(exitCode).not.toBe(0);
  expect(stderr).toContain('No space left on device');
  expect((await lab.sh('full', 'dd if=/dev/zero of=/tmp/more bs=1M count=1')).exitCode).not.toBe(0);
  expect(
    await lab.sh('beside', 'dd if=/dev/zero of=/root/own bs=1M count=20 2>/dev/null && sync && echo fine'),
  ).toMatchObject({
    stdout: 'fine\n',
  });
  expect(
    await lab.sh(
      'full',
      'rm /root/big && sync && dd if=/dev/zero of=/root/again bs=1M count=16 2>/dev/null && echo ok',
    ),
  ).toMatchObject({ stdout: 'ok\n' });
});

test('a full sandbox can be entered, stopped and started, and says how full it is', async () => {
  await lab.start('stuffed', { limits: limits(32) });
  await lab.sh('stuffed', 'cat /dev/zero > /root/big; sync');
  const running = (await lab.runtime.usage('stuffed')).disk;
  expect(running?.usedBytes).toBeGreaterThan(0.9 * (running?.totalBytes ?? 0));
  await lab.runtime.stop('stuffed', { graceMs: 0 });
  expect((await lab.runtime.usage('stuffed')).disk?.usedBytes).toBeGreaterThan(20 * MIB);
  await lab.start('stuffed', { limits: limits(32) });
  expect(await lab.sh('stuffed', 'rm /root/big && echo gone && cat /etc/hostname')).toMatchObject({
    stdout: 'gone\nstuffed\n',
  });
});

test('files that are empty are bounded too', async () => {
  await lab.start('crumbs', { limits: limits(16) });
  const { stderr } = await lab.sh(
    'crumbs',
    'mkdir /root/d && cd /root/d && i=0; while [ $i -lt 8000 ]; do : > f$i || exit; i=$((i+1)); done',
  );
  expect(stderr).toContain('No space left on device');
  expect(await lab.sh('crumbs', 'rm -r /root/d; : > /root/one && echo ok')).toMatchObject({ stdout: 'ok\n' });
});

test('nothing that a sandbox may write lies outside of its limits', async () => {
  await lab.start('corners', { limits: limits(16) });
  const { stdout } = await lab.sh(
    'corners',
    'for f in /etc/hosts /etc/hostname /etc/resolv.conf; do dd if=/dev/zero of=$f bs=1M count=40 2>&1 | grep -c "No space"; done',
  );
  expect(stdout).toBe('1\n1\n1\n');
});

test('what a sandbox deletes goes back to the pool', async () => {
  await lab.start('tidy', { limits: limits(128) });
  await lab.sh('tidy', 'dd if=/dev/urandom of=/root/big bs=1M count=64 2>/dev/null; sync');
  const before = (await stat(imageOf('tidy'))).blocks * 512;
  expect(before).toBeGreaterThan(60 * MIB);
  await lab.sh('tidy', 'rm /root/big; sync');
  await lab.runtime.stop('tidy', { graceMs: 0 });
  expect((await stat(imageOf('tidy'))).blocks * 512).toBeLessThan(before - 50 * MIB);
});

test('a stopped sandbox has no loop device and no mount, and a removed one nothing', async () => {
  await lab.start('leaves', { limits: limits(16) });
  expect(await loopDevicesOver(imageOf('leaves'))).toHaveLength(1);
  expect((await readMounts()).filter(({ target }) => target.includes('leaves'))).toEqual([]);
  await lab.sh('leaves', 'echo kept > /root/file');
  await lab.runtime.stop('leaves', { graceMs: 0 });
  expect(await loopDevicesOver(imageOf('leaves'))).toEqual([]);
  await lab.start('leaves', { limits: limits(16) });
  expect(await lab.sh('leaves', 'cat /root/file')).toMatchObject({ stdout: 'kept\n' });
  const image = imageOf('leaves');
  const { ino } = await stat(image);
  await lab.runtime.remove('leaves');
  expect(existsSync(image)).toBe(false);
  expect(await devicesOverInode(ino)).toEqual([]);
});

test('a start that fails leaves neither device nor mount nor files', async () => {
  await expect(
    lab.start('fails', { limits: limits(16), layers: [lab.baseLayer, '/nonexistent/layer'] }),
  ).rejects.toThrow();
  expect(existsSync(join(lab.poolRoot, 'sandboxes', 'fails'))).toBe(false);
  const foreign = (name: string) => !name.startsWith('ready-');
  expect((await readdir(join(lab.runDir, 'disks'))).filter(foreign)).toEqual([]);
  expect((await readMounts()).filter(({ target }) => target.includes('fails'))).toEqual([]);
});

test('a sandbox from before there were disks goes on in its plain directory', async () => {
  await lab.start('older');
  await lab.sh('older', 'echo old > /root/file');
  await lab.runtime.stop('older', { graceMs: 0 });
  await lab.start('older', { limits: limits(16) });
  expect(
    await lab.sh('older', 'cat /root/file; dd if=/dev/zero of=/root/big bs=1M count=20 2>/dev/null && echo ok'),
  ).toMatchObject({
    stdout: 'old\nok\n',
  });
});

test('nobody can put a second loop device over the disk of a sandbox that runs', async () => {
  await lab.start('locked', { limits: limits(16) });
  const directory = join(lab.poolRoot, 'sandboxes', 'locked');
  const isFree = async () => {
    const image = await open(imageOf('locked'));
    try {
      return tryLockFile(image.fd);
    } finally {
      await image.close();
    }
  };
  expect(await isFree()).toBe(false);
  await lab.runtime.stop('locked', { graceMs: 0 });
  await expect.poll(isFree).toBe(true);
  // What cannot be known must not be taken for «none».
  const node = '/dev/loop1048575';
  await symlink(node, node);
  try {
    await writeFile(join(directory, 'loop'), '1048575');
    expect(() => holdAttached(directory)).toThrow(/ELOOP/);
    await expect(lab.start('locked', { limits: limits(16) })).rejects.toThrow(/ELOOP/);
  } finally {
    await rm(node, { force: true });
  }
  await lab.start('locked', { limits: limits(16) });
  expect(await lab.sh('locked', 'echo on')).toMatchObject({ stdout: 'on\n' });
});

test('clients that neither read nor send on do not hold up a stop', async () => {
  await lab.start('slow', { limits: limits(64) });
  await lab.sh(
    'slow',
    'dd if=/dev/zero of=/root/big bs=1M count=8 2>/dev/null; mkdir /root/d; touch /root/d/1 /root/d/2',
  );
  const files = lab.runtime.files('slow');
  const { stream } = await files.read('/root/big');
  const upload = new PassThrough();
  const stopped = /is not running/;
  const refused = expect(files.write('/root/new', upload, { uid: 0, gid: 0 })).rejects.toThrow(stopped);
  upload.write('the beginning');
  const handle = await files.open('/root/big', { read: true });
  const walk = files.walk('/root/d', { signal: new AbortController().signal })[Symbol.asyncIterator]();
  const list = files.list('/root/d')[Symbol.asyncIterator]();
  for (const names of [walk, list]) expect((await names.next()).done).toBe(false);
  await lab.runtime.stop('slow', { graceMs: 0 });
  expect(await loopDevicesOver(imageOf('slow'))).toEqual([]);
  await expect(buffer(stream)).rejects.toThrow(stopped);
  await refused;
  await expect(handle.read(0, 10)).rejects.toThrow();
  await handle.close();
  for (const names of [walk, list]) await expect(names.next()).rejects.toThrow(stopped);
});

async function devicesOverInode(inode: number): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir('/sys/block')) {
    const file = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
    if (file.trim().replace(' (deleted)', '').endsWith('disk.img') && file.includes(`${lab.poolRoot}/`)) {
      const there = await stat(file.trim()).catch(() => undefined);
      if (there === undefined || there.ino === inode) found.push(name);
    }
  }
  return found;
}
