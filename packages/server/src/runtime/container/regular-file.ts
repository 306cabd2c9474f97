import { closeSync, constants, fstatSync, type Stats, statfsSync } from 'node:fs';
import { forbidden, invalidRequest } from '../../platform/errors.ts';
import { locate, reopen } from './container-root.ts';

/**
 * The kernel's own files answer by who opens them, and here that is the host's root: what a process of the sandbox may see of
 * them, it reads itself.
 */
const KERNEL_FILE_SYSTEMS = new Set([
  0x9fa0, // proc
  0x62656572, // sysfs
  0x27e0eb, // cgroup
  0x63677270, // cgroup2
  0x19800202, // mqueue
  0x1cd1, // devpts
]);

/** Opens a regular file for reading, and nothing else. */
export async function openRegular(root: number, path: string): Promise<{ fd: number; stats: Stats }> {
  const place = locate(root, path);
  try {
    const stats = fstatSync(place);
    refuseSpecial(stats, path);
    await refuseKernelFile(place, path);
    return { fd: reopen(place, constants.O_RDONLY | constants.O_NOCTTY), stats };
  } finally {
    closeSync(place);
  }
}

export function refuseSpecial(stats: Stats, path: string): void {
  if (stats.isDirectory()) throw invalidRequest(`${path} is a directory`);
  if (!stats.isFile()) throw invalidRequest(`${path} is not a regular file`);
}

export async function isKernelFile(fd: number): Promise<boolean> {
  // The link of our own descriptor: it leads to what is open, whatever happens to the path.
  const { type } = statfsSync(`/proc/self/fd/${fd}`);
  return KERNEL_FILE_SYSTEMS.has(type);
}

export async function refuseKernelFile(fd: number, path: string): Promise<void> {
  if (!(await isKernelFile(fd))) return;
  throw forbidden(`${path} is not a file on disk`, { hint: 'Read it by a command in the sandbox, for example `cat`.' });
}
