import { lstat, mkdtemp, readdir, realpath, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { errnoOf } from '../platform/errors.ts';
import { detachWhenUnused, loopDevicesOver } from './loop-devices.ts';

const NAME = /^darkroom-probe-(\d+)-/;
/** In such a directory: the file of a probe that makes a loop device. */
export const LOOP_FILE = 'loop';

/** A directory for one probe, which removes it. What a process left that was killed in the middle of one goes first. */
export async function probeDirectory(): Promise<string> {
  const place = (await isOpenToAll(await realpath(tmpdir()))) ? tmpdir() : '/tmp';
  for (const name of await readdir(place)) {
    const pid = NAME.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) await removeLeft(join(place, name));
  }
  return mkdtemp(join(place, `darkroom-probe-${process.pid}-`));
}

/** A user's own temporary directory, as pam_tmpdir(8) sets it, is closed to the root of a sandbox, who works in a probe's. */
async function isOpenToAll(path: string): Promise<boolean> {
  if (((await stat(path)).mode & 0o001) === 0) return false;
  return path === '/' || isOpenToAll(dirname(path));
}

async function removeLeft(directory: string): Promise<void> {
  try {
    // Another user's could be changed while it is removed.
    if ((await lstat(directory)).uid !== process.geteuid?.()) return;
    for (const { name } of await loopDevicesOver(join(directory, LOOP_FILE))) await detachWhenUnused(name);
  } catch {
    // It has no such file, or another probe was quicker.
  }
  await rm(directory, { recursive: true, force: true }).catch(() => {});
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return errnoOf(error) !== 'ESRCH';
  }
}
