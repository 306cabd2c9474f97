import type { IdShift } from './id-shift.ts';
import { EntryRefused } from './unpack-error.ts';

const CAPABILITY = 'security.capability';
const ACL = /^system\.posix_acl_(access|default)$/;

/**
 * The value to set on the host, or undefined where the attribute is left out. `trusted.*` is overlayfs's own language
 * (an archive that speaks it could redirect a lookup into another layer), the other `security.*` belong to the host's
 * policy. `user.overlay.*` is what overlayfs listens to when it is mounted inside a user namespace.
 */
export function hostXattr(name: string, value: Buffer, shift: IdShift): Buffer | undefined {
  if (name === CAPABILITY) return shiftCapability(value, shift);
  if (ACL.test(name)) return shiftAcl(value, shift);
  return name.startsWith('user.') && !name.startsWith('user.overlay.') ? value : undefined;
}

const REVISION_MASK = 0xff00_0000;
const REVISION_1 = 0x0100_0000;
const REVISION_2 = 0x0200_0000;
const REVISION_3 = 0x0300_0000;

/**
 * File capabilities count in a user namespace only when they name its root (revision 3, `struct vfs_ns_cap_data` of
 * linux/capability.h), and the kernel takes revision 2 and 3 only.
 */
function shiftCapability(value: Buffer, shift: IdShift): Buffer {
  const magic = value.length >= 4 ? value.readUInt32LE(0) : 0;
  const revision = (magic & REVISION_MASK) >>> 0;
  const lengths = new Map([
    [REVISION_1, 12],
    [REVISION_2, 20],
    [REVISION_3, 24],
  ]);
  if (lengths.get(revision) !== value.length) throw malformed(CAPABILITY);
  const shifted = Buffer.alloc(24);
  value.copy(shifted, 4, 4, Math.min(value.length, 20));
  shifted.writeUInt32LE((REVISION_3 | (magic & ~REVISION_MASK)) >>> 0, 0);
  shifted.writeUInt32LE(shift(revision === REVISION_3 ? value.readUInt32LE(20) : 0), 20);
  return shifted;
}

const ACL_VERSION = 2;
const ACL_USER = 0x02;
const ACL_GROUP = 0x08;

/** `struct posix_acl_xattr_entry` of linux/posix_acl_xattr.h: tag, permissions, id. */
function shiftAcl(value: Buffer, shift: IdShift): Buffer {
  if (value.length < 4 || (value.length - 4) % 8 !== 0 || value.readUInt32LE(0) !== ACL_VERSION) {
    throw malformed('system.posix_acl');
  }
  const shifted = Buffer.from(value);
  for (let at = 4; at < shifted.length; at += 8) {
    const tag = shifted.readUInt16LE(at);
    if (tag === ACL_USER || tag === ACL_GROUP) shifted.writeUInt32LE(shift(shifted.readUInt32LE(at + 4)), at + 4);
  }
  return shifted;
}

function malformed(name: string): EntryRefused {
  return new EntryRefused(`its attribute ${name} is malformed`);
}
