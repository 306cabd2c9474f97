import { writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { conflict, DarkroomError, errnoOf } from '../platform/errors.ts';
import { flatKey, readCgroupFile, readCgroupNumber } from './cgroup-files.ts';
import type { ContainerLimits } from './types.ts';

/** The path of a controller's file in one container's cgroup. */
export type CgroupFileOf = (controller: string, name: string) => string;

export const CPU_PERIOD_US = 100_000;
const MIN_CPU_QUOTA_US = 1000;
/** A process that waits for a disk is frozen when the disk has answered. */
const FREEZE_TIMEOUT_MS = 10_000;
const FREEZE_POLL_MS = 2;

export type MachineLimits = Pick<ContainerLimits, 'cpu' | 'memoryBytes'>;

export function cpuQuota(cpu: number): number {
  return Math.max(MIN_CPU_QUOTA_US, Math.round(cpu * CPU_PERIOD_US));
}

/** Under contention the machine is shared out by what each was promised; 1024 is the kernel's own word for one share. */
export function cpuShares(cpu: number): number {
  return Math.min(262_144, Math.max(2, Math.round(cpu * 1024)));
}

/** As crun converts shares, so that a resize gives what a start would have. */
function cpuWeight(cpu: number): number {
  return Math.floor(1 + ((cpuShares(cpu) - 2) * 9999) / 262_142);
}

/** Changes what a running container may take. Raises `invalid_request` when it holds more memory than it shall have. */
export async function applyLimits(version: 1 | 2, file: CgroupFileOf, limits: MachineLimits): Promise<void> {
  await refuseBelowUse(version, file, limits.memoryBytes);
  if (version === 2) {
    await writeFile(file('memory', 'memory.max'), String(limits.memoryBytes));
    await writeFile(file('cpu', 'cpu.max'), `${cpuQuota(limits.cpu)} ${CPU_PERIOD_US}`);
    await writeFile(file('cpu', 'cpu.weight'), String(cpuWeight(limits.cpu)));
    return;
  }
  await applyMemoryV1(file, limits.memoryBytes);
  await writeFile(file('cpu', 'cpu.cfs_quota_us'), String(cpuQuota(limits.cpu)));
  await writeFile(file('cpu', 'cpu.shares'), String(cpuShares(limits.cpu)));
}

/** What cannot be dropped or written to a file must fit: the kernel of v2 would kill processes until it does. */
async function refuseBelowUse(version: 1 | 2, file: CgroupFileOf, memoryBytes: number): Promise<void> {
  const stat = await readCgroupFile(file('memory', 'memory.stat'));
  const held =
    version === 2
      ? (flatKey(stat, 'anon') ?? 0) + (flatKey(stat, 'shmem') ?? 0)
      : (flatKey(stat, 'total_rss') ?? 0) + (flatKey(stat, 'total_shmem') ?? 0);
  if (held > memoryBytes) throw memoryInUse(held);
}

/** The limit of memory and swap together is never below the one of memory: which is first depends on the direction. */
async function applyMemoryV1(file: CgroupFileOf, bytes: number): Promise<void> {
  const paths = [file('memory', 'memory.limit_in_bytes'), file('memory', 'memory.memsw.limit_in_bytes')];
  const current = (await readCgroupNumber(paths[0] ?? '')) ?? 0;
  for (const path of bytes > current ? paths.reverse() : paths) {
    try {
      await writeFile(path, String(bytes));
    } catch (error) {
      // Without swap accounting there is no limit of both, and no swap to escape to that is counted.
      if (errnoOf(error) === 'ENOENT' && path.includes('memsw')) continue;
      if (errnoOf(error) === 'EBUSY') throw memoryInUse(undefined);
      throw error;
    }
  }
}

function memoryInUse(held: number | undefined): DarkroomError {
  const amount = held === undefined ? '' : ` (${Math.ceil(held / 1024 / 1024)} MiB)`;
  return new DarkroomError('invalid_request', `The sandbox uses more memory${amount} than it would have`, {
    hint: 'End processes in it, or stop it and resize it then.',
  });
}

/** The file that stops the processes of a container, and what lets them go on when it is written there. */
export function freezerOf(version: 1 | 2, file: CgroupFileOf): { path: string; thawed: string } {
  if (version === 2) return { path: file('freezer', 'cgroup.freeze'), thawed: '0' };
  return { path: file('freezer', 'freezer.state'), thawed: 'THAWED' };
}

/** Stops or resumes every process of a container at once. Resolves when all stand still; gives up, and thaws, when some do not. */
export async function setFrozen(version: 1 | 2, file: CgroupFileOf, frozen: boolean): Promise<void> {
  const { path, thawed } = freezerOf(version, file);
  const write = (wanted: boolean) => writeFile(path, wanted ? (version === 2 ? '1' : 'FROZEN') : thawed);
  try {
    await write(frozen);
  } catch (cause) {
    if (errnoOf(cause) !== 'ENOENT' && errnoOf(cause) !== 'ENODEV') throw cause;
    if (!frozen) return;
    throw new DarkroomError('unavailable', 'the machine has no freezer for the processes of a sandbox', { cause });
  }
  const deadline = performance.now() + FREEZE_TIMEOUT_MS;
  while ((await isFrozen(version, file)) !== frozen) {
    if (performance.now() > deadline) {
      if (frozen) await write(false);
      throw conflict(`the processes of the sandbox could not be ${frozen ? 'paused' : 'resumed'}`, {
        retryable: true,
        hint: 'One of them waits in the kernel, for a disk most likely.',
      });
    }
    await sleep(FREEZE_POLL_MS);
    // A process that was just forked into a v1 cgroup is seen at the next write only.
    if (version === 1) await write(frozen);
  }
}

/** Whether all processes stand still. False when the cgroup is gone. */
export async function isFrozen(version: 1 | 2, file: CgroupFileOf): Promise<boolean> {
  if (version === 2) return flatKey(await readCgroupFile(file('freezer', 'cgroup.events')), 'frozen') === 1;
  return (await readCgroupFile(file('freezer', 'freezer.state')))?.trim() === 'FROZEN';
}
