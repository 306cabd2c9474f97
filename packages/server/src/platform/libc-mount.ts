import { closeSync, readSync } from 'node:fs';
import koffi from 'koffi';
import { checked, libc, SystemCallError } from './libc.ts';

/** The mount calls of Linux 5.2: a file system is configured piece by piece, so its options are not bound to one page. */
const c = {
  fsopen: libc.func('long syscall(long number, const char *type, int flags)'),
  fsconfig: libc.func('long syscall(long number, int fd, int command, const char *key, const char *value, int aux)'),
  fsmount: libc.func('long syscall(long number, int fd, int flags, int attributes)'),
  moveMount: libc.func(
    'long syscall(long number, int from, const char *fromPath, int to, const char *toPath, int flags)',
  ),
};

const SYS_MOVE_MOUNT = 429;
const SYS_FSOPEN = 430;
const SYS_FSCONFIG = 431;
const SYS_FSMOUNT = 432;

const CLOEXEC = 1;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const AT_FDCWD = -100;

export const MOUNT_ATTR_NODEV = 4;

/** In the order given: overlayfs takes `lowerdir+` from the top layer down. A key without value is a flag. */
export type MountOption = readonly [key: string, value?: string];

export function mountNew(type: string, options: readonly MountOption[], attributes: number, target: string): void {
  const mounted = mountDetached(type, options, attributes);
  try {
    const moved = c.moveMount(SYS_MOVE_MOUNT, mounted, '', AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
    checked('move_mount', Number(moved), target);
  } finally {
    closeSync(mounted);
  }
}

/** A mount that is reached through this descriptor alone, and goes with it. */
export function mountDetached(type: string, options: readonly MountOption[], attributes: number): number {
  const context = Number(checked('fsopen', Number(c.fsopen(SYS_FSOPEN, type, CLOEXEC)), type));
  try {
    for (const [key, value] of options) {
      const command = value === undefined ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
      explain(context, 'fsconfig', Number(c.fsconfig(SYS_FSCONFIG, context, command, key, value ?? null, 0)), key);
    }
    const created = Number(c.fsconfig(SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, null, null, 0));
    explain(context, 'fsconfig', created, type);
    return explain(context, 'fsmount', Number(c.fsmount(SYS_FSMOUNT, context, CLOEXEC, attributes)), type);
  } finally {
    closeSync(context);
  }
}

/** The kernel leaves its reason, in words, to be read from the configuration's descriptor. */
function explain(context: number, syscall: string, result: number, subject: string): number {
  if (result >= 0) return result;
  const errno = koffi.errno();
  throw new SystemCallError(syscall, errno, `${subject} ${lastWords(context)}`.trim());
}

function lastWords(context: number): string {
  const words: string[] = [];
  const buffer = Buffer.alloc(1024);
  // The kernel keeps eight messages at most and answers ENODATA after the last.
  for (let i = 0; i < 8; i += 1) {
    try {
      words.push(buffer.toString('utf8', 0, readSync(context, buffer)).trim());
    } catch {
      break;
    }
  }
  return words.length > 0 ? `(${words.join('; ')})` : '';
}
