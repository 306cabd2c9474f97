import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../platform/errors.ts';
import { type MountEntry, mountAt, readMounts } from './mount-info.ts';

export const CGROUP_ROOT = '/sys/fs/cgroup';
export const UNIFIED_OF_HYBRID = join(CGROUP_ROOT, 'unified');
/** Without these a sandbox could take the whole machine. */
export const REQUIRED_CONTROLLERS = ['cpu', 'memory', 'pids'] as const;

/** How this machine's cgroups are mounted, as the calling mount namespace sees it. */
export interface CgroupLayout {
  /** `hybrid`: v1 controllers, and a v2 hierarchy beside them. */
  mode: 'v1' | 'v2' | 'hybrid' | 'none';
  /** The directory of the hierarchy that each controller is in. */
  controllers: ReadonlyMap<string, string>;
  /** Every hierarchy that a container's cgroup is made in, v1's named ones too. */
  hierarchies: readonly string[];
}

export async function readCgroupLayout(): Promise<CgroupLayout> {
  return cgroupLayout(await readMounts(), await unifiedControllers(CGROUP_ROOT));
}

export function cgroupLayout(mounts: readonly MountEntry[], unifiedControllers: readonly string[]): CgroupLayout {
  const isUnified = (path: string) => mountAt(mounts, path)?.type === 'cgroup2';
  if (isUnified(CGROUP_ROOT)) {
    const controllers = new Map(unifiedControllers.map((name) => [name, CGROUP_ROOT]));
    return { mode: 'v2', controllers, hierarchies: [CGROUP_ROOT] };
  }
  const legacy = mounts.filter(({ type, target }) => type === 'cgroup' && target.startsWith(`${CGROUP_ROOT}/`));
  const controllers = new Map(
    legacy.flatMap(({ target, superOptions }) =>
      superOptions.filter((option) => CONTROLLERS.has(option)).map((name) => [name, target] as const),
    ),
  );
  const hierarchies = [...new Set(legacy.map(({ target }) => target))];
  if (hierarchies.length === 0) return { mode: 'none', controllers, hierarchies };
  return { mode: isUnified(UNIFIED_OF_HYBRID) ? 'hybrid' : 'v1', controllers, hierarchies };
}

export function missingControllers(layout: CgroupLayout): string[] {
  return REQUIRED_CONTROLLERS.filter((name) => !layout.controllers.has(name));
}

/** `cgroup.controllers` of a v2 directory: what may be enabled below it. Empty where this is not v2. */
export async function unifiedControllers(directory: string): Promise<string[]> {
  try {
    return (await readFile(join(directory, 'cgroup.controllers'), 'utf8')).trim().split(' ').filter(Boolean);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Mount options of a v1 hierarchy name its controllers among other words. */
const CONTROLLERS = new Set([
  'blkio',
  'cpu',
  'cpuacct',
  'cpuset',
  'devices',
  'freezer',
  'hugetlb',
  'memory',
  'misc',
  'net_cls',
  'net_prio',
  'perf_event',
  'pids',
  'rdma',
]);
