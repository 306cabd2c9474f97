import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { conflict, DarkroomError, errnoOf, messageOf, notFound } from '../platform/errors.ts';
import { failpoint, failpointSync } from '../platform/failpoints.ts';
import { run } from '../platform/process.ts';
import { syncDirectory } from '../platform/sync-directory.ts';
import { freezerOf } from './cgroup-control.ts';
import type { ContainerHost } from './container/container-host.ts';
import { imageOf } from './container/disk/disk-image.ts';
import { hasDisk } from './container/disk/sandbox-disks.ts';
import { borrowedIn, type Layout, sandboxPaths } from './container/layout.ts';
import type { LiveContainer } from './container/live-container.ts';
import { removeTree } from './container/remove-tree.ts';
import { NEW_SANDBOX_PREFIX, removeSandboxDir } from './container/sandbox-dir.ts';
import { startThawGuard } from './container/thaw-guard.ts';
import type { CapturedFiles } from './types.ts';

/** Only where sandboxes have no disks of their own. */
const COPY_TIMEOUT_MS = 10 * 60_000;

/** What the sandbox has written, copied as it is at one moment. Nobody may start, end or remove it meanwhile. */
export async function captureFiles(
  host: ContainerHost,
  id: string,
  container: LiveContainer | undefined,
): Promise<CapturedFiles> {
  const directory = newDraft(host.layout, id);
  const release = () => removeTree(directory);
  try {
    const { pausedMs } = await copyWritable(host, id, [directory], container);
    if (hasDisk(directory)) return { kind: 'disk', image: imageOf(directory), pausedMs, release };
    return { kind: 'tree', path: join(directory, 'upper'), pausedMs, release };
  } catch (error) {
    await release().catch(() => {});
    throw error;
  }
}

/** Gives each child the files that the sandbox has at one and the same moment. All of them, or none. */
export async function forkFiles(
  host: ContainerHost,
  id: string,
  children: readonly string[],
  container: LiveContainer | undefined,
): Promise<{ pausedMs: number }> {
  for (const child of children) {
    if (existsSync(sandboxPaths(host.layout, child).dir)) throw conflict(`sandbox ${child} is there already`);
  }
  const drafts: { child: string; draft: string }[] = [];
  const placed: string[] = [];
  try {
    for (const child of children) drafts.push({ child, draft: newDraft(host.layout, child) });
    const paused = await copyWritable(
      host,
      id,
      drafts.map(({ draft }) => draft),
      container,
    );
    await failpoint('fork.copied');
    for (const { child, draft } of drafts) {
      writeFileSync(borrowedIn(draft), '');
      renameSync(draft, sandboxPaths(host.layout, child).dir);
      placed.push(child);
      failpointSync('fork.one-placed');
    }
    // A child whose files a power cut takes would start with none.
    await syncDirectory(host.layout.sandboxesDir);
    return paused;
  } catch (error) {
    for (const { draft } of drafts) await removeTree(draft).catch(() => {});
    for (const child of placed) await removeSandboxDir(host.layout, child);
    throw error;
  }
}

/** Under a name that the next start sweeps. */
function newDraft(layout: Layout, id: string): string {
  const draft = join(layout.trashDir, `${NEW_SANDBOX_PREFIX}copy-${id}-${randomBytes(4).toString('hex')}`);
  try {
    mkdirSync(draft, { mode: 0o700 });
  } catch (error) {
    throw copyError(error, id);
  }
  return draft;
}

async function copyWritable(
  host: ContainerHost,
  id: string,
  directories: readonly string[],
  container: LiveContainer | undefined,
): Promise<{ pausedMs: number }> {
  const { dir, upper } = sandboxPaths(host.layout, id);
  if (!existsSync(dir)) throw notFound(`sandbox ${id} has no files on this machine`);
  try {
    if (hasDisk(dir)) return await host.disks.copy(id, directories, { running: container !== undefined });
    const [first, ...others] = directories;
    if (first === undefined) return { pausedMs: 0 };
    const paused = await standingStill(host, container, () => copyPlain(upper, first));
    // However many are wanted, the sandbox stands still for one.
    for (const other of others) await copyPlain(join(first, 'upper'), other);
    return paused;
  } catch (error) {
    throw copyError(error, id);
  }
}

/** A plain directory has no file system of its own that could be frozen: its processes are. */
async function standingStill(
  host: ContainerHost,
  container: LiveContainer | undefined,
  copy: () => Promise<void>,
): Promise<{ pausedMs: number }> {
  if (container === undefined || container.isPaused) {
    await copy();
    return { pausedMs: 0 };
  }
  const { path, thawed } = freezerOf(host.cgroups.version, host.cgroups.fileOf(container.id));
  // The tool is ended before that.
  const withinSeconds = COPY_TIMEOUT_MS / 1000 + 30;
  const guard = startThawGuard({ withinSeconds, thaw: 'echo "$2" > "$1"', args: [path, thawed] });
  const began = performance.now();
  // From here on nothing joins it, which would hang.
  container.isPaused = true;
  try {
    await host.cgroups.freeze(container.id, true);
    await failpoint('capture.frozen');
    await copy();
    if (performance.now() - began > withinSeconds * 1000) {
      throw new DarkroomError(
        'unavailable',
        'the files of the sandbox took too long to copy, and it went on meanwhile',
      );
    }
  } finally {
    await host.cgroups.freeze(container.id, false);
    container.isPaused = false;
    guard.end();
  }
  return { pausedMs: performance.now() - began };
}

async function copyPlain(upper: string, directory: string): Promise<void> {
  // Asked for by name, attributes that cannot be kept are a failure.
  const kept = '--preserve=mode,ownership,timestamps,links,xattr';
  const args = ['--no-dereference', '--recursive', kept, '--reflink=auto', '--sparse=auto', '--'];
  await run('cp', [...args, upper, join(directory, 'upper')], { timeoutMs: COPY_TIMEOUT_MS });
  mkdirSync(join(directory, 'work'), { mode: 0o700 });
}

function copyError(error: unknown, id: string): unknown {
  if (error instanceof DarkroomError && error.code !== 'internal') return error;
  const full = ['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '') || /No space left/.test(messageOf(error));
  if (full) {
    return new DarkroomError('insufficient_storage', 'no space is left to copy the files of the sandbox', {
      cause: error,
      hint: 'Delete snapshots and sandboxes that nobody needs, or make the pool larger.',
    });
  }
  return new DarkroomError('unavailable', `the files of sandbox ${id} could not be copied: ${messageOf(error)}`, {
    cause: error,
  });
}
