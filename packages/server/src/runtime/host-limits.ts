import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf, messageOf } from '../platform/errors.ts';

const UNLIMITED = 9_223_372_036_854_775_807n;

interface HostLimit {
  name: string;
  wanted: bigint;
  /** Of some, 0 is no limit at all. */
  zeroIsUnlimited?: boolean;
}

/**
 * Numbers that the kernel keeps for the whole machine, or for each host user, which all sandboxes are one of: whoever takes them
 * all takes them from every neighbour. What they stand for is memory, which each sandbox has its own limit of; systemd raises
 * the first two on its own at boot.
 */
const LIMITS: readonly HostLimit[] = [
  { name: 'kernel/pid_max', wanted: 4_194_304n },
  // Each sandbox has a limit of its own; this one is for all of them together.
  { name: 'kernel/pty/max', wanted: 1_048_576n },
  { name: 'fs/file-max', wanted: UNLIMITED },
  { name: 'fs/epoll/max_user_watches', wanted: UNLIMITED },
  { name: 'fs/inotify/max_user_instances', wanted: 2_147_483_647n },
  { name: 'fs/inotify/max_user_watches', wanted: 2_147_483_647n },
  { name: 'fs/pipe-user-pages-soft', wanted: 0n, zeroIsUnlimited: true },
];

export interface HostLimitsLog {
  info(data: object, message: string): void;
  warn(data: object, message: string): void;
}

/** Raises them where they are lower, and never lowers one. A machine that does not let us keeps what it has, and the log says so. */
export async function raiseHostLimits(log: HostLimitsLog, root = '/proc/sys'): Promise<void> {
  for (const limit of LIMITS) {
    const name = limit.name.replaceAll('/', '.');
    try {
      const path = join(root, limit.name);
      const found = (await readFile(path, 'utf8')).trim();
      if (isEnough(BigInt(found), limit)) continue;
      await writeFile(path, String(limit.wanted));
      log.info(
        { setting: name, from: found, to: String(limit.wanted) },
        'a limit of the machine was raised for sandboxes',
      );
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') continue;
      log.warn({ setting: name, reason: messageOf(error) }, 'a limit that all sandboxes share could not be raised');
    }
  }
}

function isEnough(found: bigint, { wanted, zeroIsUnlimited }: HostLimit): boolean {
  return zeroIsUnlimited === true ? found === wanted : found >= wanted;
}
