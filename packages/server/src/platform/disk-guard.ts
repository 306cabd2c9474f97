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
  /** Something was refused. */
  onRefused?: () => void;
  log: { info(details: object, message: string): void; warn(details: object, message: string): void };
  now?: () => number;
}

export interface DiskGuard {
  /** Raises `insufficient_storage` above the high mark, when no room could be made at once. */
  assertRoom(): Promise<void>;
  /**
   * Does work that may fill the disk, and aborts it half-way between the high mark and the full disk with `insufficient_storage`: the rest is for
   * what runs in sandboxes.
   */
  within<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /** 0 below the marks, 1 above the low one, 2 above the high one. */
  pressure(): Promise<0 | 1 | 2>;
  close(): Promise<void>;
}

/** An answer is good for this long: a burst of requests asks once. */
const FRESH_MS = 1_000;
const LOOK_MS = 30_000;
/** Where others fill the disk, giving up more of ours would not help. */
const MAKE_ROOM_PERIOD_MS = 10 * 60_000;
/** But when work is refused, it is worth a look whether something is to be had by now. */
const MAKE_ROOM_REFUSING_MS = 60_000;
/** A request waits this long for room that is being made. */
const WAIT_MS = 3_000;
const CLOSE_MS = 10_000;

/** Keeps an eye on the file system of layers and sandboxes. */
export function createDiskGuard(options: DiskGuardOptions): DiskGuard {
  const { log, refuseAtPercent, makeRoomAtPercent, now = () => performance.now() } = options;
  const stopAtPercent = (refuseAtPercent + 100) / 2;
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

  function makeRoom(used: number): void {
    const period = used >= refuseAtPercent ? MAKE_ROOM_REFUSING_MS : MAKE_ROOM_PERIOD_MS;
    if (making !== undefined || now() - madeRoomAt < period) return;
    madeRoomAt = now();
    log.info({ usedPercent: Math.round(used) }, 'the disk fills up: what is needed least is given up');
    making = options
      .makeRoom()
      .then(
        () => undefined,
        (error: unknown) => log.warn({ err: error }, 'no room could be made on the disk'),
      )
      .finally(() => {
        making = undefined;
        known = undefined;
      });
  }

  async function look(): Promise<number> {
    const used = await percent();
    if (used >= makeRoomAtPercent) makeRoom(used);
    return used;
  }

  const timer = setInterval(() => {
    look().catch((error: unknown) => log.warn({ err: error }, 'the disk could not be looked at'));
  }, LOOK_MS).unref();

  return {
    async assertRoom() {
      let used = await look();
      if (used < refuseAtPercent) return;
      if (making !== undefined) {
        await atMost(WAIT_MS, making);
        used = await percent();
        if (used < refuseAtPercent) return;
      }
      options.onRefused?.();
      throw new DarkroomError(
        'insufficient_storage',
        `The disk of the server is ${Math.floor(used)} % full, and nothing new is begun above ${refuseAtPercent} %`,
        { hint: 'Delete snapshots and sandboxes that nobody needs, or give it more disk.', retryable: true },
      );
    },
    async within(signal, work) {
      const full = new AbortController();
      const watch = setInterval(() => {
        percent().then(
          (used) => {
            if (used >= stopAtPercent) full.abort(nearlyFull(used));
          },
          () => {},
        );
      }, FRESH_MS);
      try {
        return await work(AbortSignal.any([signal, full.signal]));
      } finally {
        clearInterval(watch);
      }
    },
    async pressure() {
      const used = await percent();
      return used >= refuseAtPercent ? 2 : used >= makeRoomAtPercent ? 1 : 0;
    },
    async close() {
      clearInterval(timer);
      // Giving up takes as long as what is given up is large; what is left of it the next server finds.
      if (making !== undefined) await atMost(CLOSE_MS, making);
    },
  };
}

const nearlyFull = (used: number) =>
  new DarkroomError(
    'insufficient_storage',
    `The disk of the server is ${Math.floor(used)} % full, and the rest is left to what runs`,
    { hint: 'Delete snapshots and sandboxes that nobody needs, or give it more disk.', retryable: true },
  );

async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}
