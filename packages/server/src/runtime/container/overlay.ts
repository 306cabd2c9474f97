import { basename, dirname } from 'node:path';
import { DarkroomError, errnoOf, messageOf } from '../../platform/errors.ts';
import { MNT_DETACH, unmount } from '../../platform/libc.ts';
import { MOUNT_ATTR_NODEV, type MountOption, mountDetached, mountNew } from '../../platform/libc-mount.ts';
import { run } from '../../platform/process.ts';

export interface OverlayPaths {
  /** Absolute, base first, as layers are counted everywhere else. */
  layers: readonly string[];
  /** Without it nobody can write; there must be two layers then. */
  upper?: string;
  /** Beside `upper`, on the same file system. */
  work?: string;
  target: string;
  /** What is synced inside is not on disk, and the end of the mount waits for no disk: for what is synced as a whole later. */
  volatile?: boolean;
}

/** The kernel's own bound (`OVL_MAX_STACK`). */
const MAX_LAYERS = 500;
const MOUNT_TIMEOUT_MS = 10_000;

/**
 * What keeps an upper directory usable as a layer of its own, anywhere, whatever the kernel's defaults are:
 * - `redirect_dir=nofollow`: a renamed directory is copied, not marked with the path it came from, and marks that an image
 *   brings along are not believed (some kernels follow them by default).
 * - `metacopy=off`: a chmod copies the data up, so that no file's data lies in another layer.
 * - `index=off`: no file handles of one file system are kept that would not fit after a copy to another.
 * - `xino=auto`: inode numbers stay stable where layers lie on more than one file system.
 * No `volatile` of itself: what a sandbox syncs is on disk. No `userxattr`: whiteouts are in the `trusted` form, out of a sandbox's reach.
 */
const OPTIONS: readonly MountOption[] = [
  ['redirect_dir', 'nofollow'],
  ['metacopy', 'off'],
  ['index', 'off'],
  ['xino', 'auto'],
];

/** Mounts layers under a writable directory. `nodev`, because a device node of an image must never open a device of the host. */
export type MountOverlay = (paths: OverlayPaths) => Promise<void>;

/** Chooses the way of this kernel at the first mount and stays with it. */
export function createOverlayMounter(): MountOverlay {
  let appends: boolean | undefined;
  return async (wanted) => {
    const paths = { ...wanted, layers: distinctLayers(wanted.layers) };
    if (paths.layers.length > MAX_LAYERS) {
      throw new DarkroomError(
        'invalid_request',
        `${paths.layers.length} layers are more than the ${MAX_LAYERS} that the kernel can mount`,
      );
    }
    try {
      if (appends !== false) {
        try {
          mountByCalls(paths);
          appends = true;
          return;
        } catch (error) {
          // `lowerdir+` is known from Linux 6.7 on; older ones answer EINVAL, or ENOSYS to fsopen itself.
          if (appends === true || !['EINVAL', 'ENOSYS', 'EPERM'].includes(errnoOf(error) ?? '')) throw error;
        }
      }
      await mountByTool(paths);
      appends = false;
    } catch (error) {
      throw mountError(error, paths);
    }
  };
}

/** The kernel takes a directory once. Nothing shows of a layer below itself; empty ones are in many images several times. */
export function distinctLayers(layers: readonly string[]): string[] {
  return layers.filter((layer, index) => layers.lastIndexOf(layer) === index);
}

function mountByCalls(paths: OverlayPaths): void {
  const { upper, work } = paths;
  const writable: MountOption[] =
    upper === undefined || work === undefined
      ? []
      : [
          ['upperdir', upper],
          ['workdir', work],
        ];
  const lasting: MountOption[] = paths.volatile ? [['volatile']] : [];
  mountNew(
    'overlay',
    [...OPTIONS, ...lowerOptions(paths.layers), ...writable, ...lasting],
    MOUNT_ATTR_NODEV,
    paths.target,
  );
}

const lowerOptions = (layers: readonly string[]) => layers.map((layer): MountOption => ['lowerdir+', layer]).reverse();

/** Merged layers, two at least, that are reached through the descriptor alone. For kernels that append layers. */
export function openMerged(layers: readonly string[]): number {
  return mountDetached('overlay', [...OPTIONS, ...lowerOptions(layers)], MOUNT_ATTR_NODEV);
}

/**
 * One page must hold all options of mount(2): relative names, from the directory that most layers lie in, make 128 layers fit.
 * Through a process of its own, because the server's working directory is everybody's.
 */
export async function mountByTool(paths: OverlayPaths): Promise<void> {
  // A layer is `<layers>/<id>/diff`.
  const cwd = dirname(dirname(paths.layers.at(-1) ?? '/'));
  const relative = (path: string) =>
    dirname(dirname(path)) === cwd ? `${basename(dirname(path))}/${basename(path)}` : path;
  const lower = [...paths.layers].reverse().map((layer) => escapeOption(relative(layer)).replaceAll(':', '\\:'));
  const options = [
    'nodev',
    ...OPTIONS.map(([key, value]) => `${key}=${value}`),
    `lowerdir=${lower.join(':')}`,
    ...(paths.upper === undefined ? [] : [`upperdir=${escapeOption(paths.upper)}`]),
    ...(paths.work === undefined ? [] : [`workdir=${escapeOption(paths.work)}`]),
    ...(paths.volatile ? ['volatile'] : []),
  ];
  // Without -i and -n, mount may run a helper or note the mount in /run, which a private mount belongs in least of all.
  await run('mount', ['-i', '-n', '-t', 'overlay', 'overlay', '-o', options.join(','), paths.target], {
    cwd,
    timeoutMs: MOUNT_TIMEOUT_MS,
  });
}

function escapeOption(path: string): string {
  return path.replaceAll('\\', '\\\\').replaceAll(',', '\\,');
}

function mountError(error: unknown, paths: OverlayPaths): unknown {
  if (error instanceof DarkroomError && error.code !== 'internal') return error;
  const code = errnoOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new DarkroomError('insufficient_storage', 'no space is left to mount a sandbox', { cause: error });
  }
  const message = `mounting ${paths.layers.length} layers failed: ${messageOf(error)}`;
  return new DarkroomError('internal', message, { cause: error, hint: 'The kernel log (dmesg) may say more.' });
}

/** Detaches a mount; nothing to do where none is. */
export function unmountQuietly(target: string): void {
  try {
    unmount(target, MNT_DETACH);
  } catch (error) {
    if (!['EINVAL', 'ENOENT'].includes(errnoOf(error) ?? '')) throw error;
  }
}
