import { statfsSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import type { ExitWatcher } from '../../platform/exit-watcher.ts';
import { spawnPiped } from '../../platform/piped-process.ts';

export type DiskExcess = 'disk' | 'pool';

export interface DiskWatchOptions {
  watcher: ExitWatcher;
  poolRoot: string;
  /** What is counted together. */
  directories: readonly string[];
  /** Without it only the pool bounds them. */
  limitBytes: number | undefined;
  onExcess: (excess: DiskExcess) => void;
}

export interface DiskWatch {
  /** Ends it. Undefined when all is within its bounds. */
  finish(): Promise<DiskExcess | undefined>;
  /** Ends it without an answer. */
  stop(): void;
}

const INTERVAL_MS = 100;
const MIB = 1024 * 1024;
const RESERVE_BYTES = 64 * MIB;
const RESERVE_SHARE = 0.01;
/** Growth of less is not worth a count. */
const WORTH_COUNTING_BYTES = 4 * MIB;
/** Somebody else may free as much as the step writes, which the pool's use does not show. */
const COUNT_ANYWAY_MS = 10_000;
/** The more files, the longer a count: it takes a twentieth of the time at most. */
const COUNT_SHARE = 20;
const COUNT_TIMEOUT_MS = 60_000;

export function freeBytes(poolRoot: string): { free: number; reserve: number; used: number } {
  const { bsize, blocks, bavail, bfree } = statfsSync(poolRoot);
  return {
    free: bavail * bsize,
    used: (blocks - bfree) * bsize,
    reserve: Math.max(RESERVE_BYTES, blocks * bsize * RESERVE_SHARE),
  };
}

/**
 * The upper directory of a step is a plain one, and not every kernel has quotas for those. So the use of the whole pool is
 * looked at, which costs nothing, and when that has grown by a part of what is left to the step, its files are counted, by a process. A step
 * can be over its limit by what it writes in one interval and one count, and then by an eighth of what was left: that is the slack. It is
 * counted once more at the end, so that nothing over the limit becomes a layer. Files that were deleted and are still open are not counted:
 * they never become a layer, and the pool's reserve bounds them.
 */
export function watchDisk(options: DiskWatchOptions): DiskWatch {
  const { poolRoot, limitBytes } = options;
  let counted = 0;
  let usedThen = freeBytes(poolRoot).used;
  let countedAt = performance.now();
  let countedFor = 0;
  let counting: Promise<boolean> | undefined;
  let excess: DiskExcess | undefined;

  /** Whether it is over the limit. */
  async function count(limit: number): Promise<boolean> {
    const began = performance.now();
    const { used } = freeBytes(poolRoot);
    counted = (await diskUse(options, limit)) ?? counted;
    usedThen = used;
    countedAt = performance.now();
    countedFor = countedAt - began;
    return counted > limit;
  }

  function exceed(kind: DiskExcess): void {
    if (excess !== undefined) return;
    excess = kind;
    options.onExcess(kind);
  }

  function isWorthIt(limit: number, used: number): boolean {
    const now = performance.now();
    if (now - countedAt < countedFor * COUNT_SHARE && used - usedThen < limit - counted) return false;
    if (now - countedAt > COUNT_ANYWAY_MS) return used !== usedThen;
    return used - usedThen >= Math.max(WORTH_COUNTING_BYTES, (limit - counted) / 8);
  }

  const timer = setInterval(() => {
    const { free, reserve, used } = freeBytes(poolRoot);
    if (free < reserve) return exceed('pool');
    if (limitBytes === undefined || counting !== undefined || !isWorthIt(limitBytes, used)) return;
    counting = count(limitBytes);
    counting
      .then((isOver) => {
        if (isOver) exceed('disk');
      })
      .catch(() => {})
      .finally(() => {
        counting = undefined;
      });
  }, INTERVAL_MS);

  const stop = () => clearInterval(timer);
  return {
    stop,
    async finish() {
      stop();
      await counting?.catch(() => false);
      if (excess !== undefined || limitBytes === undefined) return excess;
      // Less than what was left cannot have filled it.
      const grown = freeBytes(poolRoot).used - usedThen;
      if (grown > limitBytes - counted && (await count(limitBytes))) excess = 'disk';
      return excess;
    },
  };
}

/**
 * The smaller of what the files take and what they are long: a file system takes more than a file needs while that grows, and one with
 * holes is longer than what it takes. Undefined when it cannot be told.
 */
async function diskUse(options: DiskWatchOptions, limit: number): Promise<number | undefined> {
  const taken = await sum(options, []);
  if (taken === undefined || taken <= limit) return taken;
  return Math.min(taken, (await sum(options, ['--apparent-size'])) ?? taken);
}

/** What changes during the count, `du` complains of and passes over. */
async function sum(
  { watcher, directories }: DiskWatchOptions,
  options: readonly string[],
): Promise<number | undefined> {
  const du = spawnPiped(watcher, 'du', ['-s', '-c', '-x', '--block-size=1', ...options, '--', ...directories]);
  const timer = setTimeout(() => {
    if (!du.hasEnded()) process.kill(du.pid, 'SIGKILL');
  }, COUNT_TIMEOUT_MS);
  du.stdin.end();
  du.stderr.resume();
  try {
    const [output] = await Promise.all([text(du.stdout), du.closed]);
    const total = /^(\d+)\s+total$/m.exec(output)?.[1];
    return total === undefined ? undefined : Number(total);
  } finally {
    clearTimeout(timer);
  }
}
