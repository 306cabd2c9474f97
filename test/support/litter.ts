import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../packages/server/src/platform/process.ts';
import { instanceTag } from '../../packages/server/src/runtime/instance-tag.ts';

export interface Litter {
  /** Mount points below the state directory or the run directory, the pool not counted, as the host sees them. */
  mounts: string[];
  /** Command lines of processes in a cgroup of this server's sandboxes. */
  contained: string[];
  /** Command lines of other processes that work on the state directory (database, helpers, the server itself). */
  helpers: string[];
  /** Network interfaces of sandboxes on the host's side. */
  interfaces: string[];
  cgroups: string[];
}

/** What a server over this state directory has on the machine right now. */
export async function litterOf(stateDir: string): Promise<Litter> {
  const tag = instanceTag(stateDir);
  const mountInfo = await readFile('/proc/self/mountinfo', 'utf8');
  const mounts = mountInfo
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter(
      (path) => (path.startsWith(stateDir) && path !== join(stateDir, 'pool')) || path.includes(`darkroom-${tag}`),
    );
  const links: { ifname: string }[] = JSON.parse((await run('ip', ['-json', 'link'], { timeoutMs: 10_000 })).stdout);
  const processes = await processesOf(tag, stateDir);
  return {
    mounts,
    ...processes,
    interfaces: links.map((link) => link.ifname).filter((name) => name.startsWith(`dr${tag.slice(0, 4)}`)),
    cgroups: await cgroupsOf(tag),
  };
}

async function processesOf(tag: string, stateDir: string): Promise<{ contained: string[]; helpers: string[] }> {
  const contained: string[] = [];
  const helpers: string[] = [];
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    // A process may end while it is looked at.
    const cgroup = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
    const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ').trim();
    if (cgroup.includes(`darkroom-${tag}`)) contained.push(`${pid} ${command}`);
    else if (command.includes(stateDir) || command.includes(`darkroom-${tag}`)) helpers.push(`${pid} ${command}`);
  }
  return { contained, helpers };
}

async function cgroupsOf(tag: string): Promise<string[]> {
  const found = await run('find', ['/sys/fs/cgroup', '-maxdepth', '4', '-type', 'd', '-path', `*darkroom-${tag}/*`], {
    timeoutMs: 10_000,
    okCodes: [0, 1],
  });
  return found.stdout.split('\n').filter(Boolean);
}
