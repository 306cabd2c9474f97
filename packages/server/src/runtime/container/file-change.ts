import { closeSync, fstatSync, type Stats } from 'node:fs';
import { chmod, chown, truncate, utimes } from 'node:fs/promises';
import { invalidRequest } from '../../platform/errors.ts';
import type { FileChanges } from '../types.ts';
import { locate } from './container-root.ts';
import { refuseKernelFile, refuseSpecial } from './regular-file.ts';
import type { AccountFiles } from './users.ts';

export interface ChangeInput {
  idBase: number;
  idCount: number;
  changes: FileChanges;
  accounts: () => Promise<AccountFiles>;
}

/** Follows a link at the end. */
export async function changeInRoot(root: number, path: string, input: ChangeInput): Promise<void> {
  const place = locate(root, path);
  try {
    await refuseKernelFile(place, path);
    await changeOpen(place, fstatSync(place), path, input);
  } finally {
    closeSync(place);
  }
}

/** `fd` may be of `O_PATH`: all goes through the kernel's link to it, and so means exactly this inode. */
export async function changeOpen(fd: number, stats: Stats, path: string, input: ChangeInput): Promise<void> {
  const { changes } = input;
  // Device files of the sandbox are the host's own, mounted there.
  if (stats.isBlockDevice() || stats.isCharacterDevice()) throw invalidRequest(`${path} is a device`);
  const itself = `/proc/self/fd/${fd}`;
  const owner = await hostOwner(input);
  if (owner !== undefined) await chown(itself, owner.uid ?? stats.uid, owner.gid ?? stats.gid);
  // After the owner, whose change takes setuid and setgid away.
  if (changes.mode !== undefined) await chmod(itself, changes.mode & 0o7777);
  if (changes.size !== undefined) {
    refuseSpecial(stats, path);
    await truncate(itself, changes.size);
  }
  if (changes.mtimeMs !== undefined && changes.atimeMs !== undefined) {
    await utimes(itself, changes.atimeMs / 1000, changes.mtimeMs / 1000);
  }
}

async function hostOwner({ changes, accounts, idBase, idCount }: ChangeInput) {
  if (changes.owner === undefined && changes.group === undefined) return undefined;
  const { users, groups } = await accounts();
  const onHost = (kind: string, wanted: string | number | undefined, find: (name: string) => number | undefined) => {
    if (wanted === undefined) return undefined;
    const id = typeof wanted === 'number' ? wanted : (find(wanted) ?? numberOf(wanted));
    if (id === undefined) throw invalidRequest(`${kind} ${wanted} does not exist in the sandbox`);
    if (!Number.isInteger(id) || id < 0 || id >= idCount) throw invalidRequest(`ids in a sandbox are below ${idCount}`);
    return idBase + id;
  };
  return {
    uid: onHost('the user', changes.owner, (name) => users.find((user) => user.name === name)?.uid),
    gid: onHost('the group', changes.group, (name) => groups.find((group) => group.name === name)?.gid),
  };
}

const numberOf = (text: string) => (/^\d{1,10}$/.test(text) ? Number(text) : undefined);
