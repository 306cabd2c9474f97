import { type Path, setXattr } from '../../platform/libc.ts';
import { readXattrs } from '../../platform/libc-copy.ts';
import { setOpenFileXattr } from '../../platform/libc-inode.ts';

export type Xattrs = [name: string, value: Buffer][];

/**
 * What goes along with a file. Not `trusted.*` nor `user.overlay.*`, which are overlayfs's own language, and not what belongs to the
 * host's policy. Capabilities and ACLs name shifted ids, and every tree here has the same shift, so they are right as they are.
 */
export function isKeptXattr(name: string): boolean {
  if (name.startsWith('user.')) return !name.startsWith('user.overlay.');
  return name === 'security.capability' || name === 'system.posix_acl_access' || name === 'system.posix_acl_default';
}

export function keptXattrs(path: Path): Xattrs {
  return readXattrs(path, isKeptXattr);
}

export function setXattrs(path: Path, xattrs: Xattrs): void {
  for (const [name, value] of xattrs) setXattr(path, Buffer.from(name, 'latin1').toString(), value);
}

export function setOpenXattrs(fd: number, xattrs: Xattrs): void {
  for (const [name, value] of xattrs) setOpenFileXattr(fd, Buffer.from(name, 'latin1').toString(), value);
}
