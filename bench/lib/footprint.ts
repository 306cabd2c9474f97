import { readdir, readFile, readlink, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../packages/server/src/platform/process.ts';
import { litterOf } from '../../test/support/litter.ts';

/** What a server has of its machine at one moment. */
export interface Footprint {
  /** MiB of the server process. */
  resident: number;
  descriptors: number;
  threads: number;
  /** Processes of sandboxes, of the database and other helpers. */
  processes: number;
  /** In the server's own mount namespace. */
  mounts: number;
  interfaces: number;
  loopDevices: number;
  cgroups: number;
  /** MiB that are in use in the pool. */
  pool: number;
  /** Files and directories in the state directory's spool, and in the pool's sandboxes. */
  leftFiles: number;
  /** MiB of the machine that are not available. */
  machineMemory: number;
}

export async function footprintOf(server: { pid: number; stateDir: string }): Promise<Footprint> {
  const { pid, stateDir } = server;
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const number = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
  const litter = await litterOf(stateDir);
  const pool = join(stateDir, 'pool');
  const { bsize, blocks, bfree } = await statfs(pool);
  const loops = await run('losetup', ['--list', '--noheadings', '--output', 'BACK-FILE'], { timeoutMs: 10_000 });
  const meminfo = await readFile('/proc/meminfo', 'utf8');
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(meminfo)?.[1]);
  return {
    resident: Math.round(number('VmRSS') / 1024),
    descriptors: (await readdir(`/proc/${pid}/fd`)).length,
    threads: number('Threads'),
    processes: litter.contained.length + litter.helpers.length,
    mounts: (await readFile(`/proc/${pid}/mountinfo`, 'utf8')).trim().split('\n').length,
    interfaces: litter.interfaces.length,
    loopDevices: loops.stdout.split('\n').filter((file) => file.trim().startsWith(stateDir)).length,
    cgroups: litter.cgroups.length,
    pool: Math.round(((blocks - bfree) * bsize) / 2 ** 20),
    leftFiles: (await countBelow(join(stateDir, 'spool'))) + (await countBelow(join(pool, 'sandboxes'))),
    machineMemory: Math.round((kib('MemTotal') - kib('MemAvailable')) / 1024),
  };
}

/** Kinds of open files, for the one who looks for a leak. */
export async function descriptorKinds(pid: number): Promise<Record<string, number>> {
  const kinds: Record<string, number> = {};
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => 'gone');
    const kind = target.replace(/\[?\d+\]?$/, '').replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, 'ID');
    kinds[kind] = (kinds[kind] ?? 0) + 1;
  }
  return kinds;
}

async function countBelow(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true }).catch(() => []);
  return entries.length;
}
