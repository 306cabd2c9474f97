import { DarkroomError } from './errors.ts';

export interface DiskUse {
  usedBytes: number;
  /** What may still be written. */
  freeBytes: number;
}

export interface DiskGuardOptions {
  use(): Promise<DiskUse>;
  /** From here on what is needed least is given up. */
  makeRoomAtPercent: number;
  /** From here on nothing new is begun, so that what runs does not run into a full disk. */
  refuseAtPercent: number;
  makeRoom(): Promise<unknown>;
  log: { info(details: object, message: string): void; warn(details: object, message: string): void };
  now?: () => number;
}

export interface DiskGuard {
  /** Raises `insufficient_storage` above the high mark. */
  assertRoom(): Promise<void>;
  close(): Promise<void>;
}

/** An answer is good for this long: a burst of requests asks once. */
const FRESH_MS = 1_000;
const LOOK_MS = 30_000;
/** Where others fill the disk, giving up more of ours would not help. */
const MAKE_ROOM_PERIOD_MS = 10 * 60_000;

/** Keeps an eye on the file system of layers and sandboxes. */
export function createDiskGuard(options: DiskGuardOptions): DiskGuard {
  const { log, now = () => performance.now() } = options;
  let known: { at: number; percent: Promise<number> } | undefined;
  let madeRoomAt = Number.NEGATIVE_INFINITY;
  let making: Promise<void> | undefined;

  function percent(): Promise<number> {
    if (known !== undefined && now() - known.at < FRESH_MS) return known.percent;
    const asked = options.use().then(({ usedBytes, freeBytes }) => (100 * usedBytes) / (usedBytes + freeBytes || 1));
    known = { at: now(), percent: asked };
    asked.catch(() => {
      known = undefined;
    });
    return asked;
  }

  async function look(): Promise<number> {
    const used = await percent();
    if (used >= options.makeRoomAtPercent && now() - madeRoomAt >= MAKE_ROOM_PERIOD_MS) {
      madeRoomAt = now();
      log.info({ usedPercent: Math.round(used) }, 'the disk fills up: what is needed least is given up');
      making = options
        .makeRoom()
        .then(
          () => undefined,
          (error: unknown) => log.warn({ err: error }, 'no room could be made on the disk'),
        )
        .finally(() => {
          known = undefined;
        });
    }
    return used;
  }

  const timer = setInterval(() => {
    look().catch((error: unknown) => log.warn({ err: error }, 'the disk could not be looked at'));
  }, LOOK_MS).unref();

  return {
    async assertRoom() {
      const used = await look();
      if (used < options.refuseAtPercent) return;
      throw new DarkroomError(
        'insufficient_storage',
        `The disk of the server is ${Math.floor(used)} % full, and nothing new is begun above ${options.refuseAtPercent} %`,
        { hint: 'Delete snapshots and sandboxes that nobody needs, or give it more disk.', retryable: true },
      );
    },
    async close() {
      clearInterval(timer);
      await making;
    },
  };
}
