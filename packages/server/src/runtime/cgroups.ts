import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { applyLimits, type CgroupFileOf, isFrozen, type MachineLimits, setFrozen } from './cgroup-control.ts';
import {
  childCgroups,
  flatKey,
  processesOf,
  readCgroupFile,
  readCgroupNumber,
  removeCgroupTree,
} from './cgroup-files.ts';
import { type CgroupLayout, UNIFIED_OF_HYBRID } from './cgroup-layout.ts';
import { makeCgroup, type StartLimits } from './cgroup-make.ts';

export interface CgroupUsage {
  memoryBytes: number;
  /** Of all cores together, since the container started. */
  cpuMicros: number;
  pids: number;
  /** Of the page cache, which is given back when processes want it. */
  cacheBytes: number;
  memoryLimitBytes: number;
}

/** The cgroups of this Darkroom's containers. Reading one that is gone answers undefined, or nothing. */
export interface Cgroups {
  readonly version: 1 | 2;
  /** `/darkroom-<tag>`, as crun means it. */
  readonly parent: string;
  /** `linux.cgroupsPath` of a container's config.json. */
  pathFor(id: string): string;
  /** The files of a cgroup, by controller and name. */
  fileOf(id: string): CgroupFileOf;
  /** For what crun does not start: makes it with these limits. Returns the files that a process joins it by. */
  make(id: string, limits: StartLimits): Promise<string[]>;
  /** Processes that the kernel killed for want of memory inside the container's limit. */
  oomKills(id: string): Promise<number | undefined>;
  /** Changes cpu and memory of a running container. Raises `invalid_request` when it holds more memory than that. */
  apply(id: string, limits: MachineLimits): Promise<void>;
  /** Resolves when every process stands still, or goes on. Raises `conflict` when some do not, and then all go on. */
  freeze(id: string, frozen: boolean): Promise<void>;
  isFrozen(id: string): Promise<boolean>;
  /** Host pids of everything in it, whatever session or parent they took. */
  pids(id: string): Promise<number[]>;
  usage(id: string): Promise<CgroupUsage | undefined>;
  /** Of all containers together. */
  totals(): Promise<CgroupUsage | undefined>;
  /** Containers that have a cgroup, in any hierarchy. */
  list(): Promise<string[]>;
  /** Waits for dying processes for a few seconds; raises `conflict` when some stay. Idempotent. */
  remove(id: string): Promise<void>;
  /** Removes the cgroups without processes of containers that are not in `live`. Returns their ids. */
  removeLeftovers(live: ReadonlySet<string>): Promise<string[]>;
  /** Removes the parent, when no container is left. */
  removeParent(): Promise<void>;
}

/** Over hierarchies that are ready; `prepareCgroups` makes them so. */
export function cgroupsIn(layout: CgroupLayout, tag: string): Cgroups {
  const parent = `/${parentName(tag)}`;
  const version = layout.mode === 'v2' ? 2 : 1;
  const directories = (id: string) => layout.hierarchies.map((hierarchy) => join(hierarchy, parent, id));
  // Where it is hidden, crun finds an ordinary directory in its place, writes there all the same, and leaves what it wrote.
  const removeShadow = async (path: string) => {
    if (version === 1) await rm(join(UNIFIED_OF_HYBRID, path), { recursive: true, force: true });
  };
  const directoryFor = (controller: string, id: string) =>
    join(layout.controllers.get(controller) ?? layout.hierarchies[0] ?? '', parent, id);
  const file = (controller: string, id: string, name: string) => join(directoryFor(controller, id), name);
  const usage = version === 2 ? usageV2 : usageV1;

  const cgroups: Cgroups = {
    version,
    parent,
    pathFor: (id) => `${parent}/${id}`,
    fileOf: (id) => (controller, name) => file(controller, id, name),
    make: (id, limits) =>
      makeCgroup({ version, layout, directoryFor: (controller) => directoryFor(controller, id) }, limits),
    oomKills: async (id) =>
      flatKey(
        await readCgroupFile(file('memory', id, version === 2 ? 'memory.events' : 'memory.oom_control')),
        'oom_kill',
      ),
    apply: (id, limits) => applyLimits(version, (controller, name) => file(controller, id, name), limits),
    freeze: (id, frozen) => setFrozen(version, (controller, name) => file(controller, id, name), frozen),
    isFrozen: (id) => isFrozen(version, (controller, name) => file(controller, id, name)),
    pids: (id) => processesOf(directoryFor('pids', id)),
    totals: () => usage((controller, name) => file(controller, '', name)),
    usage: (id) => usage((controller, name) => file(controller, id, name)),
    async list() {
      const names = await Promise.all(layout.hierarchies.map((hierarchy) => childCgroups(join(hierarchy, parent))));
      return [...new Set(names.flat())];
    },
    async remove(id) {
      await Promise.all([...directories(id).map(removeCgroupTree), removeShadow(join(parent, id))]);
    },
    async removeLeftovers(live) {
      const removed: string[] = [];
      for (const id of await cgroups.list()) {
        if (live.has(id)) continue;
        const pids = await Promise.all(directories(id).map(processesOf));
        if (pids.flat().length > 0) continue;
        await cgroups.remove(id);
        removed.push(id);
      }
      return removed;
    },
    async removeParent() {
      if ((await cgroups.list()).length > 0) return;
      await Promise.all(layout.hierarchies.map((hierarchy) => removeCgroupTree(join(hierarchy, parent))));
      await removeShadow(parent);
    },
  };
  return cgroups;
}

export function parentName(tag: string): string {
  return `darkroom-${tag}`;
}

async function usageV1(file: CgroupFileOf): Promise<CgroupUsage | undefined> {
  const [memoryBytes, memoryLimitBytes, stat, cpuNanos, pids] = await Promise.all([
    readCgroupNumber(file('memory', 'memory.usage_in_bytes')),
    readCgroupNumber(file('memory', 'memory.limit_in_bytes')),
    readCgroupFile(file('memory', 'memory.stat')),
    readCgroupNumber(file('cpuacct', 'cpuacct.usage')),
    readCgroupNumber(file('pids', 'pids.current')),
  ]);
  if (memoryBytes === undefined || pids === undefined) return undefined;
  const cacheBytes = (flatKey(stat, 'total_cache') ?? 0) - (flatKey(stat, 'total_shmem') ?? 0);
  const cpuMicros = Math.round((cpuNanos ?? 0) / 1000);
  return { memoryBytes, cpuMicros, pids, cacheBytes, memoryLimitBytes: memoryLimitBytes ?? 0 };
}

async function usageV2(file: CgroupFileOf): Promise<CgroupUsage | undefined> {
  const [memoryBytes, memoryLimitBytes, stat, cpu, pids] = await Promise.all([
    readCgroupNumber(file('memory', 'memory.current')),
    readCgroupNumber(file('memory', 'memory.max')),
    readCgroupFile(file('memory', 'memory.stat')),
    readCgroupFile(file('cpu', 'cpu.stat')),
    readCgroupNumber(file('pids', 'pids.current')),
  ]);
  if (memoryBytes === undefined || pids === undefined) return undefined;
  const cacheBytes = (flatKey(stat, 'file') ?? 0) - (flatKey(stat, 'shmem') ?? 0);
  const cpuMicros = flatKey(cpu, 'usage_usec') ?? 0;
  return { memoryBytes, cpuMicros, pids, cacheBytes, memoryLimitBytes: memoryLimitBytes ?? 0 };
}
