import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../platform/errors.ts';
import { type Layout, sandboxPaths } from './layout.ts';

const NEW = 'new-sandbox-';
const REMOVED = 'removed-sandbox-';

export interface SandboxDirInput {
  id: string;
  /** Its root's mode is that of the top layer's, as it would be without the writable directory over it. */
  topLayer: string;
  idBase: number;
}

/** The writable directory of a sandbox: kept from an earlier run, or made whole elsewhere and renamed into place. */
export async function ensureSandboxDir(layout: Layout, input: SandboxDirInput): Promise<{ made: boolean }> {
  const { dir } = sandboxPaths(layout, input.id);
  if (await exists(dir)) return { made: false };
  const draft = join(layout.trashDir, `${NEW}${input.id}-${randomBytes(4).toString('hex')}`);
  await mkdir(draft, { mode: 0o700 });
  try {
    const own = async (path: string) => {
      await mkdir(path, { mode: 0o755 });
      await chown(path, input.idBase, input.idBase);
    };
    const [top] = await Promise.all([
      stat(input.topLayer),
      own(join(draft, 'upper')),
      own(join(draft, 'etc')),
      mkdir(join(draft, 'work'), { mode: 0o700 }),
    ]);
    await Promise.all([
      chmod(join(draft, 'upper'), top.mode & 0o7777),
      // Nobody of the host gets into it but root, and crun, which looks for mount sources as the sandbox's root.
      chown(draft, input.idBase, input.idBase),
    ]);
    await rename(draft, dir);
    return { made: true };
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
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
export async function writeNameFiles(etc: string, names: NameFiles): Promise<void> {
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
  await Promise.all(
    files.map(async ([name, content]) => {
      await writeFile(join(etc, name), content);
      await chown(join(etc, name), names.idBase, names.idBase);
    }),
  );
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
  await rm(trash, { recursive: true, force: true });
}

/** Removes what a crash left half made or half removed. */
export async function sweepSandboxLitter(layout: Layout): Promise<void> {
  const names = await readdir(layout.trashDir);
  const litter = names.filter((name) => name.startsWith(NEW) || name.startsWith(REMOVED));
  for (const name of litter) await rm(join(layout.trashDir, name), { recursive: true, force: true });
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
