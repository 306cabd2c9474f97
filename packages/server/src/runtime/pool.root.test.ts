import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants, watch } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { mount, unmount } from '../platform/libc.ts';
import { run } from '../platform/process.ts';
import { lockStateDir } from '../platform/state-lock.ts';
import { attachLoopDevice, detachWhenUnused, loopDevicesOver } from './loop-devices.ts';
import { mountAt, readMounts } from './mount-info.ts';
import { detachPool, ensurePool, poolFreeBytes } from './pool.ts';
import { makePoolImage } from './pool-image.ts';
import { fileSystemOf } from './reflink.ts';

const MIB = 1024 * 1024;
const NOBODY = 65534;
const LIMIT = { timeoutMs: 20_000 };

let stateDir: string;
let image: string;
let root: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'darkroom-pool-'));
  image = join(stateDir, 'pool.img');
  root = join(stateDir, 'pool');
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'close');
    }
  }
  const inside = (await readMounts()).filter(({ target }) => target.startsWith(stateDir));
  for (const { target } of inside.reverse()) unmount(target);
  for (const { name } of await loopDevicesOver(image).catch(() => [])) await detachWhenUnused(name);
  await rm(stateDir, { recursive: true, force: true });
});

const ensure = () => ensurePool({ stateDir, maxBytes: 600 * MIB });

async function mountsOfPool() {
  return (await readMounts()).filter(({ target }) => target === root);
}

/** Calls ensurePool in a process of its own, which tells when it is done and then waits to be ended. */
function ensureInChild(prefix: string[] = []): ChildProcess {
  const program = `
    const { ensurePool } = await import(process.argv[1]);
    const { root } = await ensurePool({ stateDir: process.argv[2], maxBytes: ${600 * MIB} });
    console.log(root);
    setInterval(() => {}, 1000);`;
  const module = fileURLToPath(new URL('./pool.ts', import.meta.url));
  const argv = [...prefix, process.execPath, '--input-type=module', '-e', program, module, stateDir];
  const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return child;
}

async function said(child: ChildProcess): Promise<string> {
  if (child.stdout === null) throw new Error('no output');
  const [chunk] = await once(child.stdout, 'data');
  return String(chunk).trim();
}

test('the first call makes one file system with reflinks for layers and sandboxes', async () => {
  const pool = await ensure();
  expect(pool).toEqual({ root, kind: 'image', fileSystem: 'xfs', reflink: true });
  await writeFile(join(root, 'layers', 'a'), Buffer.alloc(MIB, 7));
  await copyFile(join(root, 'layers', 'a'), join(root, 'sandboxes', 'b'), constants.COPYFILE_FICLONE_FORCE);
  expect(await poolFreeBytes(pool)).toBeGreaterThan(400 * MIB);
  expect((await stat(image)).size).toBe(600 * MIB);
});

test('a second call finds the mounted pool, with what it holds', async () => {
  await ensure();
  await writeFile(join(root, 'layers', 'kept'), 'x');
  await ensure();
  expect(await readFile(join(root, 'layers', 'kept'), 'utf8')).toBe('x');
  expect(await mountsOfPool()).toHaveLength(1);
});

test('many calls at once, from several processes, end with one mount over one loop device', async () => {
  const child = ensureInChild();
  const [, , , other] = await Promise.all([ensure(), ensure(), ensure(), said(child)]);
  expect(other).toBe(root);
  expect(await mountsOfPool()).toHaveLength(1);
  expect(await loopDevicesOver(image)).toHaveLength(1);
});

test('the pool outlives the process that made it, and the loop device goes with the mount', async () => {
  const child = ensureInChild();
  await said(child);
  child.kill('SIGKILL');
  await once(child, 'close');
  expect(await mountsOfPool()).toHaveLength(1);
  await writeFile(join(root, 'tmp', 'kept'), 'x');
  await detachPool(stateDir);
  expect(await loopDevicesOver(image)).toEqual([]);
  await ensure();
  expect(await readFile(join(root, 'tmp', 'kept'), 'utf8')).toBe('x');
});

test.each(['pool.img.new-', 'pool.img', 'pool'])(
  'killed as soon as %s is there, the next call completes it',
  async (name) => {
    const child = ensureInChild();
    const watcher = watch(stateDir, (_, file) => {
      if (file === name || (name.endsWith('-') && file?.startsWith(name) === true)) child.kill('SIGKILL');
    });
    await once(child, 'close');
    watcher.close();
    expect(child.signalCode).toBe('SIGKILL');
    expect(await ensure()).toMatchObject({ kind: 'image', reflink: true });
    expect(await loopDevicesOver(image)).toHaveLength(1);
    expect((await readdir(stateDir)).sort()).toEqual(['pool', 'pool-id', 'pool.img', 'pool.lock']);
  },
);

test('a half-made image is made again', async () => {
  await writeFile(join(stateDir, 'pool.img.new-x'), 'half');
  await ensure();
  expect(await readdir(stateDir)).not.toContain('pool.img.new-x');
});

test('a loop device that a killed call left over the image is used, and no second one made', async () => {
  await makePoolImage(image, 600 * MIB);
  const device = await attachLoopDevice(image, 4096);
  await ensure();
  expect(mountAt(await readMounts(), root)?.source).toBe(device);
  expect(await loopDevicesOver(image)).toMatchObject([{ name: device, autoclear: true }]);
});

test('a mount whose maker was killed before the last step gets its loop device freed with it', async () => {
  await makePoolImage(image, 600 * MIB);
  await mkdir(root);
  mount(await attachLoopDevice(image, 4096), root, 'xfs', 0, null);
  await ensure();
  expect(await loopDevicesOver(image)).toMatchObject([{ autoclear: true }]);
});

test('an image that is mounted in another mount namespace only is shared with it, over its own loop device', async () => {
  const child = ensureInChild(['unshare', '--mount', '--propagation', 'private', '--']);
  await said(child);
  expect(await mountsOfPool()).toEqual([]);
  await writeFile(`/proc/${child.pid}/root${root}/layers/from-there`, 'x');
  await ensure();
  expect(await loopDevicesOver(image)).toHaveLength(1);
  expect(await readFile(join(root, 'layers', 'from-there'), 'utf8')).toBe('x');
});

test('an image that something else uses is left alone', async () => {
  await makePoolImage(image, 600 * MIB);
  const { stdout } = await run('losetup', ['--find', '--show', '--offset', '1048576', image], LIMIT);
  await expect(ensure()).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining(stdout.trim()) });
  expect(await mountsOfPool()).toEqual([]);
});

test('a pool whose image was deleted is refused, because a reboot would lose it', async () => {
  await ensure();
  await rm(image);
  await expect(ensure()).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('deleted') });
});

test('an image that is no file system is refused, with its loop device given back', async () => {
  await writeFile(image, 'not XFS');
  await truncate(image, 600 * MIB);
  await expect(ensure()).rejects.toMatchObject({ code: 'unavailable', message: expect.stringContaining(image) });
  expect(await loopDevicesOver(image)).toEqual([]);
});

test('a disk that is too small is refused, and nothing is left on it', async () => {
  mount('darkroom-test', stateDir, 'tmpfs', 0, 'size=100m');
  await expect(ensurePool({ stateDir })).rejects.toMatchObject({ code: 'insufficient_storage' });
  await expect(ensure()).rejects.toMatchObject({ code: 'insufficient_storage' });
  expect((await readdir(stateDir)).sort()).toEqual(['pool', 'pool.lock']);
});

test('a limit that XFS cannot have is refused with the name of the setting', async () => {
  const tooLittle = ensurePool({ stateDir, maxBytes: 100 * MIB });
  await expect(tooLittle).rejects.toMatchObject({
    code: 'invalid_request',
    message: expect.stringContaining('pool.maxBytes'),
  });
});

test('a state directory on a file system with reflinks needs no image', async () => {
  const disk = join(stateDir, 'disk.img');
  await makePoolImage(disk, 600 * MIB);
  const inner = join(stateDir, 'xfs');
  await mkdir(inner);
  await run('mount', ['-o', 'loop', disk, inner], LIMIT);
  const pool = await ensurePool({ stateDir: inner });
  expect(pool).toEqual({ root: join(inner, 'pool'), kind: 'directory', fileSystem: 'xfs', reflink: true });
  expect((await readdir(inner)).sort()).toEqual(['pool', 'pool-id', 'pool.lock']);
});

const idsOf = async () => [
  await readFile(join(stateDir, 'pool-id'), 'utf8'),
  await readFile(join(root, 'pool-id'), 'utf8'),
];
const missed = (why: string) => ({
  code: 'conflict',
  message: expect.stringContaining(why),
  hint: expect.stringContaining(`remove ${join(stateDir, 'pool-id')}`),
});

test('a pool on a disk of the operator’s own is missed when that is not mounted, until its note is removed', async () => {
  const disk = join(stateDir, 'disk.img');
  await makePoolImage(disk, 600 * MIB);
  await mkdir(root);
  const mountDisk = () => run('mount', ['-o', 'loop', disk, root], LIMIT);
  await mountDisk();
  expect(await ensure()).toMatchObject({ kind: 'directory' });
  await writeFile(join(root, 'layers', 'kept'), 'x');
  unmount(root);

  await expect(ensure()).rejects.toMatchObject(missed('nothing is mounted there'));
  expect(await readdir(root)).toEqual([]);
  expect(await readdir(stateDir)).not.toContain('pool.img');
  await mountDisk();
  await ensure();
  expect(await readFile(join(root, 'layers', 'kept'), 'utf8')).toBe('x');

  unmount(root);
  await rm(join(stateDir, 'pool-id'));
  expect(await ensure()).toMatchObject({ kind: 'image' });
});

test('a directory is missed too, where the disk below it has reflinks itself', async () => {
  const disk = join(stateDir, 'disk.img');
  await makePoolImage(disk, 600 * MIB);
  const inner = join(stateDir, 'xfs');
  await mkdir(inner);
  await run('mount', ['-o', 'loop', disk, inner], LIMIT);
  await ensurePool({ stateDir: inner });
  await rename(join(inner, 'pool'), join(inner, 'away'));
  await expect(ensurePool({ stateDir: inner })).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining('nothing there says which pool it is'),
  });
  expect(await readdir(join(inner, 'pool'))).toEqual([]);
});

test('an image that is lost, empty or of another pool is refused and not left mounted', async () => {
  await ensure();
  await detachPool(stateDir);
  await rename(image, `${image}.kept`);
  await expect(ensure()).rejects.toMatchObject(missed('there is no image'));
  await makePoolImage(image, 600 * MIB);
  await expect(ensure()).rejects.toMatchObject(missed('nothing there says which pool it is'));
  mount(await attachLoopDevice(image, 4096), root, 'xfs', 0, null);
  await writeFile(join(root, 'pool-id'), 'another\n');
  await expect(ensure()).rejects.toMatchObject(missed('it is pool another'));
  await detachPool(stateDir);
  for (const { name } of await loopDevicesOver(image)) await detachWhenUnused(name);
  await expect(ensure()).rejects.toMatchObject(missed('it is pool another'));
  expect(await mountsOfPool()).toEqual([]);
  await rename(`${image}.kept`, image);
  expect(await ensure()).toMatchObject({ kind: 'image' });
});

test('a pool from before pools had ids gets one, and one whose note was not written any more is noted', async () => {
  await ensure();
  const [before] = await idsOf();
  await rm(join(stateDir, 'pool-id'));
  await ensure();
  expect(await idsOf()).toEqual([before, before]);
  await rm(join(stateDir, 'pool-id'));
  await rm(join(root, 'pool-id'));
  await ensure();
  const [note, marker] = await idsOf();
  expect(note).toBe(marker);
  expect(note).not.toBe(before);
});

test('a larger limit makes the pool larger, mounted or not; a smaller one changes nothing', async () => {
  const before = await poolFreeBytes(await ensure());
  await writeFile(join(root, 'layers', 'kept'), 'x');
  const mounted = await ensurePool({ stateDir, maxBytes: 900 * MIB });
  expect(await poolFreeBytes(mounted)).toBeGreaterThan(before + 250 * MIB);
  await detachPool(stateDir);
  const again = await ensurePool({ stateDir, maxBytes: 1200 * MIB });
  expect(await poolFreeBytes(again)).toBeGreaterThan(before + 550 * MIB);
  await ensure();
  expect((await stat(image)).size).toBe(1200 * MIB);
  expect(await readFile(join(root, 'layers', 'kept'), 'utf8')).toBe('x');
});

test('a growth that was killed in the middle is completed', async () => {
  const before = await poolFreeBytes(await ensure());
  await truncate(image, 900 * MIB);
  const pool = await ensurePool({ stateDir, maxBytes: 900 * MIB });
  expect(await poolFreeBytes(pool)).toBeGreaterThan(before + 250 * MIB);
});

test('a pool does not grow beyond its disk', async () => {
  await ensure();
  await expect(ensurePool({ stateDir, maxBytes: 2 ** 50 })).rejects.toMatchObject({ code: 'insufficient_storage' });
  expect((await stat(image)).size).toBe(600 * MIB);
});

test('a full pool still opens, so that something can be deleted', async () => {
  await ensure();
  // As one from before pools had ids: there may be no room for one.
  await rm(join(stateDir, 'pool-id'));
  await rm(join(root, 'pool-id'));
  await run('fallocate', ['--length', '2G', join(root, 'layers', 'big')], { ...LIMIT, okCodes: [1] });
  for (let size = 256 * MIB; size >= 4096; size = Math.floor(size / 2)) {
    const file = join(root, 'layers', `fill-${size}`);
    await run('fallocate', ['--length', String(size), file], { ...LIMIT, okCodes: [0, 1] });
  }
  await detachPool(stateDir);
  expect(await ensure()).toMatchObject({ kind: 'image', reflink: true });
});

test('users of the host cannot walk into layers, nor list sandboxes', async () => {
  await ensure();
  await mkdir(join(root, 'sandboxes', 'x'));
  for (const directory of ['layers', 'tmp', 'sandboxes']) {
    const listing = run('setpriv', ['--reuid', String(NOBODY), '--clear-groups', 'ls', join(root, directory)], LIMIT);
    await expect(listing).rejects.toThrow('Permission denied');
  }
});

test('setuid programs count in an overlay mount over the pool, and nowhere else', async () => {
  await ensure();
  const box = join(root, 'sandboxes', 'x');
  for (const name of ['lower', 'upper', 'work', 'merged']) await mkdir(join(box, name), { recursive: true });
  await run('install', ['-m', '4755', '/usr/bin/id', join(box, 'lower', 'id')], LIMIT);
  const options = ['lower', 'upper', 'work'].map((name) => `${name}dir=${join(box, name)}`).join(',');
  mount('overlay', join(box, 'merged'), 'overlay', 0, options);
  const idOf = async (path: string) => {
    const { stdout } = await run('setpriv', ['--reuid', String(NOBODY), '--clear-groups', path, '-u'], LIMIT);
    return Number(stdout);
  };
  expect(await idOf(join(box, 'merged', 'id'))).toBe(0);
  expect(await idOf(join(box, 'lower', 'id'))).toBe(NOBODY);
});

test('a pool is not detached under a running server, nor while something uses it', async () => {
  await ensure();
  const server = lockStateDir(stateDir);
  await expect(detachPool(stateDir)).rejects.toMatchObject({ code: 'conflict' });
  server.release();
  const user = spawn('cat', { cwd: join(root, 'tmp'), stdio: ['pipe', 'ignore', 'ignore'] });
  children.push(user);
  await once(user, 'spawn');
  await expect(detachPool(stateDir)).rejects.toMatchObject({ code: 'conflict' });
  user.stdin.end();
  await once(user, 'close');
  await detachPool(stateDir);
  await detachPool(stateDir);
  expect(await fileSystemOf(root)).not.toBe('xfs');
});
