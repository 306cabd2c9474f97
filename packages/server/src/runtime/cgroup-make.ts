import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../platform/errors.ts';
import { applyLimits, type MachineLimits } from './cgroup-control.ts';
import type { CgroupLayout } from './cgroup-layout.ts';

export interface StartLimits extends MachineLimits {
  pids: number;
}

interface CgroupPlace {
  version: 1 | 2;
  layout: CgroupLayout;
  directoryFor: (controller: string) => string;
}

/** What is limited or looked at later; other controllers have nothing to say to it. */
const CONTROLLERS = ['cpu', 'cpuacct', 'memory', 'pids', 'freezer'];

/** A container's cgroup as crun would make it. Returns the files that a process joins it by. */
export async function makeCgroup(
  { version, layout, directoryFor }: CgroupPlace,
  limits: StartLimits,
): Promise<string[]> {
  const there = CONTROLLERS.filter((name) => version === 2 || layout.controllers.has(name));
  const directories = [...new Set(there.map(directoryFor))];
  for (const directory of directories) await mkdir(directory, { recursive: true });
  const file = (controller: string, name: string) => join(directoryFor(controller), name);
  await applyLimits(version, file, limits);
  await writeFile(file('pids', 'pids.max'), String(limits.pids));
  if (version === 2) await writeIfThere(file('memory', 'memory.swap.max'), '0');
  return directories.map((directory) => join(directory, 'cgroup.procs'));
}

/** A kernel without swap has no such file. */
async function writeIfThere(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'EACCES') throw error;
  }
}
