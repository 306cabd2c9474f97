import { randomUUID } from 'node:crypto';
import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../platform/process.ts';
import { removeCgroupTree } from './cgroup-files.ts';
import { readCgroupLayout, UNIFIED_OF_HYBRID } from './cgroup-layout.ts';
import { CHECK_TIMEOUT_MS, fail, ok, type ProbeResult } from './probe-check.ts';
import { probeDirectory } from './probe-directory.ts';
import type { IdRange } from './probe-shifted.ts';

const ADVICE = 'See the message; in a container, it needs CAP_SYS_ADMIN, an unmasked /proc and writable cgroups.';

/**
 * Runs one program as a sandbox would: crun, all namespaces, shifted ids, overlay root, limits, a seccomp filter, no capabilities.
 * Files lie in a tmpfs of a mount namespace that ends with it, and its cgroup is removed.
 */
export async function probeContainer(crun: string, range: IdRange): Promise<ProbeResult> {
  const directory = await probeDirectory();
  const id = `darkroom-probe-${randomUUID()}`;
  const layout = await readCgroupLayout();
  const started = performance.now();
  try {
    const hide = layout.mode === 'hybrid' ? UNIFIED_OF_HYBRID : '';
    const { stdout } = await run(
      'unshare',
      [...OWN_MOUNTS, SCRIPT, 'sh', directory, String(range.idBase), hide, crun, id],
      { timeoutMs: CHECK_TIMEOUT_MS, input: JSON.stringify(containerConfig(id, range)) },
    );
    if (!stdout.includes('tini version')) return fail(`its program said: ${stdout.trim()}`, ADVICE);
    return ok(`runs and ends in ${Math.round(performance.now() - started)} ms`);
  } finally {
    await Promise.all(layout.hierarchies.map((hierarchy) => removeCgroupTree(join(hierarchy, id))));
    await rmdir(directory);
  }
}

const OWN_MOUNTS = ['--mount', '--propagation', 'slave', 'sh', '-euc'];
/** tini-static is there in any case, and runs without libraries. */
const SCRIPT = `
  program=$(command -v tini-static) || { echo 'there is no tini-static to run' >&2; exit 1; }
  mount -t tmpfs -o size=8m,mode=0755 darkroom-probe "$1"
  cd "$1"
  if [ -n "$3" ]; then umount --lazy "$3"; fi
  mkdir lower lower/proc lower/dev upper work merged state
  cp "$program" lower/program
  chown -R "$2:$2" lower upper work
  mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work darkroom-probe merged
  cat > config.json
  exec "$4" --root "$1/state" run --bundle "$1" "$5"`;

function containerConfig(id: string, { idBase, idCount }: IdRange): object {
  const ids = [{ containerID: 0, hostID: idBase, size: idCount }];
  return {
    ociVersion: '1.0.2',
    root: { path: 'merged' },
    hostname: 'probe',
    process: {
      args: ['/program', '--version'],
      cwd: '/',
      env: [],
      user: { uid: 0, gid: 0 },
      noNewPrivileges: true,
      capabilities: {},
    },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    linux: {
      namespaces: ['pid', 'mount', 'ipc', 'uts', 'network', 'user', 'cgroup'].map((type) => ({ type })),
      uidMappings: ids,
      gidMappings: ids,
      cgroupsPath: `/${id}`,
      resources: { memory: { limit: 64 * 1024 * 1024 }, pids: { limit: 16 }, cpu: { quota: 100_000, period: 100_000 } },
      seccomp: {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['reboot'], action: 'SCMP_ACT_ERRNO' }],
      },
    },
  };
}
