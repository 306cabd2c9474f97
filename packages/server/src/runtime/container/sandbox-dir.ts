import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, messageOf } from '../../platform/errors.ts';
import type { RuntimeLog } from './container-host.ts';
import { type Layout, sandboxPaths } from './layout.ts';
import { removeTree } from './remove-tree.ts';

const NEW = 'new-sandbox-';
const REMOVED = 'removed-sandbox-';

export interface SandboxDirInput {
  id: string;
  /** Its root's mode is that of the top layer's, as it would be without the writable directory over it. */
  topLayer: string;
  idBase: number;
}

/**
 * The writable directory of a sandbox: kept from an earlier run, or made whole elsewhere and renamed into place. Synchronous, as
 * is `writeNameFiles`: a dozen calls of some microseconds each, where the same through the thread pool cost milliseconds of a start.
 */
export function ensureSandboxDir(layout: Layout, input: SandboxDirInput): { made: boolean } {
  const { dir } = sandboxPaths(layout, input.id);
  if (existsSync(dir)) return { made: false };
  const draft = join(layout.trashDir, `${NEW}${input.id}-${randomBytes(4).toString('hex')}`);
  const upper = join(draft, 'upper');
  const etc = join(draft, 'etc');
  mkdirSync(draft, { mode: 0o700 });
  try {
    for (const path of [upper, etc]) {
      mkdirSync(path, { mode: 0o755 });
      chownSync(path, input.idBase, input.idBase);
    }
    mkdirSync(join(draft, 'work'), { mode: 0o700 });
    chmodSync(upper, statSync(input.topLayer).mode & 0o7777);
    // Nobody of the host gets into it but root, and crun, which looks for mount sources as the sandbox's root.
    chownSync(draft, input.idBase, input.idBase);
    renameSync(draft, dir);
    return { made: true };
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    throw error;
  }
}

export interface NameFiles {
  hostname: string;
  address: string;
  resolvConf: string;
  idBase: number;
}

/** What is mounted over /etc/hosts, /etc/hostname and /etc/resolv.conf: written at each start, because the address changes. */
export function writeNameFiles(etc: string, names: NameFiles): void {
  const hosts = [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    `${names.address}\t${names.hostname}`,
    '',
  ].join('\n');
  const files: [string, string][] = [
    ['hosts', hosts],
    ['hostname', `${names.hostname}\n`],
    ['resolv.conf', names.resolvConf],
  ];
  for (const [name, content] of files) {
    writeFileSync(join(etc, name), content);
    chownSync(join(etc, name), names.idBase, names.idBase);
  }
}

/** Gone in one step for everybody who looks; then its files. A crash between leaves litter only. Idempotent. */
export async function removeSandboxDir(layout: Layout, id: string): Promise<void> {
  const trash = join(layout.trashDir, `${REMOVED}${id}-${randomBytes(4).toString('hex')}`);
  try {
    await rename(sandboxPaths(layout, id).dir, trash);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  await removeTree(trash);
}

/** Removes what a crash left half made or half removed. What cannot be removed keeps no server from starting. */
export async function sweepSandboxLitter(layout: Layout, log: RuntimeLog): Promise<void> {
  const names = await readdir(layout.trashDir);
  const litter = names.filter((name) => name.startsWith(NEW) || name.startsWith(REMOVED));
  for (const name of litter) {
    try {
      await removeTree(join(layout.trashDir, name));
    } catch (error) {
      log.warn({ name, error: messageOf(error).slice(0, 500) }, 'files of a removed sandbox are still there');
    }
  }
}
