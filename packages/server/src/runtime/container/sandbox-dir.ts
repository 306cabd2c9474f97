import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, messageOf } from '../../platform/errors.ts';
import { failpoint } from '../../platform/failpoints.ts';
import type { RuntimeLog } from './container-host.ts';
import { type Layout, sandboxPaths } from './layout.ts';
import { removeTree } from './remove-tree.ts';

/** What is half made and what is half removed lies under these names, and is swept at the next start. */
export const NEW_SANDBOX_PREFIX = 'new-sandbox-';
const REMOVED = 'removed-sandbox-';

export interface PlainUpperInput {
  /** Its root's mode is that of the top layer's, as it would be without the writable directory over it. */
  topLayer: string;
  idBase: number;
}

/** The directory of a new sandbox: filled elsewhere and renamed into place, so that it is whole or not there. */
export function makeSandboxDir(layout: Layout, id: string, fill: (draft: string) => void): void {
  const draft = join(layout.trashDir, `${NEW_SANDBOX_PREFIX}${id}-${randomBytes(4).toString('hex')}`);
  mkdirSync(draft, { mode: 0o700 });
  try {
    fill(draft);
    renameSync(draft, sandboxPaths(layout, id).dir);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    throw error;
  }
}

/**
 * What the overlay writes to, plainly in the pool. Synchronous, as is `writeNameFiles`: a dozen calls of some microseconds each,
 * where the same through the thread pool cost milliseconds of a start.
 */
export function makePlainUpper(draft: string, input: PlainUpperInput): void {
  const upper = join(draft, 'upper');
  mkdirSync(upper, { mode: 0o755 });
  chownSync(upper, input.idBase, input.idBase);
  mkdirSync(join(draft, 'work'), { mode: 0o700 });
  copyRootMode(input.topLayer, upper);
}

export function copyRootMode(topLayer: string, upper: string): void {
  chmodSync(upper, statSync(topLayer).mode & 0o7777);
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
  await failpoint('remove.files-trashed');
  await removeTree(trash);
}

/** Removes what a crash left half made or half removed. What cannot be removed keeps no server from starting. */
export async function sweepSandboxLitter(layout: Layout, log: RuntimeLog): Promise<void> {
  const names = await readdir(layout.trashDir);
  const litter = names.filter((name) => name.startsWith(NEW_SANDBOX_PREFIX) || name.startsWith(REMOVED));
  for (const name of litter) {
    try {
      await removeTree(join(layout.trashDir, name));
    } catch (error) {
      log.warn({ name, error: messageOf(error).slice(0, 500) }, 'files of a removed sandbox are still there');
    }
  }
}
