import { chmod, chown, copyFile, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findProgram } from '../../platform/find-program.ts';
import type { Layout } from './layout.ts';

/** Directories and files that things are mounted on. At the bottom of the stack: whatever an image has goes before. */
const SKELETON_DIRS = ['.darkroom', 'dev', 'etc', 'proc', 'sys'];
const SKELETON_FILES = ['etc/hostname', 'etc/hosts', 'etc/resolv.conf'];

/**
 * What every sandbox gets beside its snapshot. Without the skeleton, crun would make the mount points in the sandbox's own
 * writable directory, and they would be in every snapshot that is captured from it. Made once for a pool; idempotent.
 */
export async function makeFurnishings(layout: Layout, idBase: number): Promise<void> {
  await mkdir(layout.toolsDir, { recursive: true });
  for (const dir of [layout.toolsDir, join(layout.poolRoot, 'runtime')]) await chmod(dir, 0o755);
  await installTool(findProgram('catatonit'), join(layout.toolsDir, 'init'));
  await installTool(findProgram('tini-static'), join(layout.toolsDir, 'tini'));

  for (const dir of ['', ...SKELETON_DIRS]) {
    const path = join(layout.skeletonDir, dir);
    await mkdir(path, { recursive: true });
    await chown(path, idBase, idBase);
    await chmod(path, 0o755);
  }
  for (const file of SKELETON_FILES) {
    const path = join(layout.skeletonDir, file);
    await writeFile(path, '');
    await chown(path, idBase, idBase);
    await chmod(path, 0o644);
  }
}

/** Replaced by a rename, never written to: it may be running in sandboxes. Owned by the host's root: nobody inside can write it. */
async function installTool(source: string, target: string): Promise<void> {
  const [wanted, there] = await Promise.all([readFile(source), readFile(target).catch(() => undefined)]);
  if (there?.equals(wanted) && ((await stat(target)).mode & 0o777) === 0o755) return;
  const temporary = `${target}.new`;
  await rm(temporary, { force: true });
  await copyFile(source, temporary);
  await chmod(temporary, 0o755);
  await rename(temporary, target);
}
