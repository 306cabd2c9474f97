import { mkdir, readlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DarkroomError, errnoOf, messageOf } from '../platform/errors.ts';
import { MNT_DETACH, unmount } from '../platform/libc.ts';
import { readCgroupFile } from './cgroup-files.ts';
import {
  CGROUP_ROOT,
  type CgroupLayout,
  missingControllers,
  REQUIRED_CONTROLLERS,
  readCgroupLayout,
  UNIFIED_OF_HYBRID,
  unifiedControllers,
} from './cgroup-layout.ts';
import { type Cgroups, cgroupsIn, parentName } from './cgroups.ts';
import { mountAt, readMounts } from './mount-info.ts';

export interface PrepareCgroupsOptions {
  /** From `instanceTag`. */
  tag: string;
  /** What `mountNamespace()` said before the server went into its own; by default that of pid 1, or of our parent. */
  hostMountNamespace?: string | undefined;
}

/**
 * Makes this machine's cgroups usable for crun, seen from the server's private mount namespace: hides the second hierarchy of a
 * hybrid host, enables controllers of a v2 one. Idempotent. Raises `unavailable` with what to do.
 */
export async function prepareCgroups(options: PrepareCgroupsOptions): Promise<Cgroups> {
  let layout = await readCgroupLayout();
  if (layout.mode === 'hybrid') {
    await hideUnified(options.hostMountNamespace);
    layout = await readCgroupLayout();
  }
  const missing = missingControllers(layout);
  if (missing.length > 0) {
    throw unavailable(
      layout.mode === 'none' ? 'no cgroups are mounted' : `cgroup controllers are missing: ${missing.join(', ')}`,
      layout.mode === 'none'
        ? `Mount them: \`mount -t cgroup2 none ${CGROUP_ROOT}\`.`
        : 'Remove `cgroup_disable=` from the kernel command line (some boards need `cgroup_enable=memory`).',
    );
  }
  if (layout.mode === 'v2') await enableControllers(layout, options.tag);
  return cgroupsIn(layout, options.tag);
}

/** Names the mount namespace of a process, such as `mnt:[4026531841]`. */
export function mountNamespace(pid: number | 'self' = 'self'): Promise<string> {
  return readlink(`/proc/${pid}/ns/mnt`);
}

/** crun takes a hybrid host for v2 and finds no controllers there. Without that mount it sees plain v1. */
async function hideUnified(hostNamespace: string | undefined): Promise<void> {
  const host = hostNamespace ?? (await guessHostNamespace());
  const mounts = await readMounts();
  const parentMount = mountAt(mounts, dirname(UNIFIED_OF_HYBRID));
  if ((await mountNamespace()) === host || parentMount?.shared === true) {
    throw unavailable(
      'the machine has mixed (hybrid) cgroups, and the server is not in a mount namespace of its own',
      'Start it with `darkroom up`, or under `unshare --mount --propagation slave`.',
    );
  }
  for (let left = mounts.length; left > 0 && mountAt(await readMounts(), UNIFIED_OF_HYBRID) !== undefined; left--) {
    unmount(UNIFIED_OF_HYBRID, MNT_DETACH);
  }
}

/** A hardened kernel shows nothing of pid 1, even to root. */
async function guessHostNamespace(): Promise<string> {
  try {
    return await mountNamespace(1);
  } catch (error) {
    if (errnoOf(error) !== 'EACCES') throw error;
    return mountNamespace(process.ppid);
  }
}

async function enableControllers(layout: CgroupLayout, tag: string): Promise<void> {
  const root = layout.hierarchies[0] ?? CGROUP_ROOT;
  const parent = join(root, parentName(tag));
  try {
    await mkdir(parent, { recursive: true });
    await enableBelow(root).catch(async (error: unknown) => {
      if (errnoOf(error) !== 'EBUSY') throw error;
      await emptyNamespaceRoot(root, tag);
      await enableBelow(root);
    });
    await enableBelow(parent);
  } catch (cause) {
    throw unavailable(
      `the cgroup controllers could not be enabled in ${root}: ${messageOf(cause)}`,
      'In a container, mount its cgroups writable and give it a cgroup namespace of its own.',
      cause,
    );
  }
}

/** Only what is not enabled yet: on the real root systemd may have done it, and a needless write may be refused. */
async function enableBelow(directory: string): Promise<void> {
  const path = join(directory, 'cgroup.subtree_control');
  const enabled = new Set(((await readCgroupFile(path)) ?? '').trim().split(' '));
  const available = await unifiedControllers(directory);
  const wanted = available.filter((name) => REQUIRED_CONTROLLERS.some((required) => required === name));
  const missing = wanted.filter((name) => !enabled.has(name));
  if (missing.length > 0) await writeFile(path, missing.map((name) => `+${name}`).join(' '));
}

/**
 * In a cgroup namespace (a container, a delegated unit) the root that we see is an inner node, and those may have processes or
 * controllers for their children, not both (cgroup-v2.rst, "No Internal Process Constraint"). So its processes get a leaf.
 */
async function emptyNamespaceRoot(root: string, tag: string): Promise<void> {
  const leaf = join(root, `${parentName(tag)}-host`);
  await mkdir(leaf, { recursive: true });
  // Some may fork meanwhile; a bounded number of rounds.
  for (let round = 0; round < 10; round++) {
    const pids = ((await readCgroupFile(join(root, 'cgroup.procs'))) ?? '').split('\n').filter(Boolean);
    // 0 is a process of another pid namespace, which cannot be moved from here.
    const movable = pids.filter((pid) => pid !== '0');
    if (movable.length === 0) return;
    for (const pid of movable) await moveProcess(leaf, pid);
  }
}

async function moveProcess(cgroup: string, pid: string): Promise<void> {
  try {
    await writeFile(join(cgroup, 'cgroup.procs'), pid);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
  }
}

function unavailable(message: string, hint: string, cause?: unknown): DarkroomError {
  return new DarkroomError('unavailable', message, { hint, cause });
}
