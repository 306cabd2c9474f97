import { existsSync } from 'node:fs';
import { open, readFile, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { run } from '../platform/process.ts';
import { attachLoopDevice, detachWhenUnused } from './loop-devices.ts';
import { mountAt, readMounts } from './mount-info.ts';
import { holdsPoolDirectory } from './pool.ts';
import { CHECK_TIMEOUT_MS, fail, ok, type ProbeResult, warn } from './probe-check.ts';
import { LOOP_FILE, probeDirectory } from './probe-directory.ts';
import { gib } from './probe-host.ts';
import { fileSystemOf } from './reflink.ts';

const GIB = 1024 ** 3;

export interface PoolOutlook {
  /** An image is, or will be, mounted by loop. */
  needsLoop: boolean;
  result: ProbeResult;
}

/** What the pool is, or what it would become at the first start. */
export async function probePool(stateDir: string): Promise<PoolOutlook> {
  const root = join(stateDir, 'pool');
  const image = join(stateDir, 'pool.img');
  const mounted = mountAt(await readMounts(), root);
  if (mounted !== undefined) {
    const { blocks, bsize } = await statfs(root);
    const kind = `${mounted.type} mounted from ${mounted.source}, ${gib(blocks * bsize)} GiB`;
    return { needsLoop: mounted.source.startsWith('/dev/loop'), result: ok(kind) };
  }
  const directory = nearestExisting(stateDir);
  const below = await fileSystemOf(directory);
  if (!existsSync(image) && (await holdsPoolDirectory(directory))) {
    return { needsLoop: false, result: ok(`${directory} is ${below} with reflinks`) };
  }
  const kernel = await readFile('/proc/filesystems', 'utf8');
  const found = existsSync(image)
    ? `${image}, not mounted yet`
    : `${directory} is ${below}: an XFS image will be made in it`;
  // Prints its version, which says that it is there.
  await run('mkfs.xfs', ['-V'], { timeoutMs: CHECK_TIMEOUT_MS });
  if (!/\txfs$/m.test(kernel) && !(await canLoadXfs())) {
    return {
      needsLoop: true,
      result: fail(`${found}; the kernel has no XFS`, 'Put the state directory on btrfs with --state-dir.'),
    };
  }
  return { needsLoop: true, result: ok(found) };
}

/** Really makes one over a file of its own, and takes it away. */
export async function probeLoop(needed: boolean): Promise<ProbeResult> {
  if (!needed) return ok('not needed');
  const directory = await probeDirectory();
  try {
    const file = join(directory, LOOP_FILE);
    const handle = await open(file, 'wx');
    await handle.truncate(1024 * 1024);
    await handle.close();
    await detachWhenUnused(await attachLoopDevice(file, 4096));
    return ok('work');
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export async function probeDisk(stateDir: string): Promise<ProbeResult> {
  const directory = nearestExisting(stateDir);
  const { bavail, blocks, bsize } = await statfs(directory);
  const free = bavail * bsize;
  const found = `${gib(free)} GiB of ${gib(blocks * bsize)} GiB free in ${directory}`;
  if (free < GIB) return fail(found, 'Free some, or choose another disk with --state-dir.');
  return free < 5 * GIB ? warn(found, 'Enough for a few small images; --state-dir can name another disk.') : ok(found);
}

export function nearestExisting(path: string): string {
  return existsSync(path) ? path : nearestExisting(dirname(path));
}

async function canLoadXfs(): Promise<boolean> {
  const { exitCode } = await run('modprobe', ['--dry-run', '--quiet', 'xfs'], {
    timeoutMs: CHECK_TIMEOUT_MS,
    okCodes: [0, 1],
  });
  return exitCode === 0;
}
