import { messageOf } from '../../../platform/errors.ts';
import type { RuntimeLog } from '../container-host.ts';

/** An empty disk that is mounted and nobody's yet. */
export interface ReadyDisk {
  /** Has the image; to be renamed to its sandbox's directory. */
  directory: string;
  root: string;
  unmount(): void;
}

export interface DiskStockOptions {
  /** Of each size in use. */
  ready: number;
  make(bytes: number): Promise<ReadyDisk>;
  discard(disk: ReadyDisk): Promise<void>;
  log: Pick<RuntimeLog, 'error'>;
}

export interface DiskStock {
  /** One of the stock, or one that is made now. */
  take(bytes: number): Promise<ReadyDisk>;
  close(): Promise<void>;
}

/** Snapshots of a machine mostly ask for the same size; each size costs its stock. */
const MAX_SIZES = 2;
/** Made when takes have stopped for a moment, so that a start does not get slower by the refill of the one before. */
const QUIET_MS = 100;
const RETRY_MS = 5_000;

/**
 * Keeps disks of the sizes that were asked for last. Making one waits for the machine's disk three times (the clone, the loop
 * device, the first mount), which is up to tens of milliseconds on a busy one.
 */
export function createDiskStock(options: DiskStockOptions): DiskStock {
  /** In the order of their last use. */
  const sizes = new Map<number, ReadyDisk[]>();
  let filling: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function use(bytes: number): ReadyDisk[] {
    const ready = sizes.get(bytes) ?? [];
    sizes.delete(bytes);
    sizes.set(bytes, ready);
    return ready;
  }

  function fillSoon(afterMs: number): void {
    clearTimeout(timer);
    if (closed) return;
    timer = setTimeout(() => {
      filling ??= fill().finally(() => {
        filling = undefined;
      });
    }, afterMs);
    timer.unref();
  }

  /** One disk at a time; a take in between puts the next off. */
  async function fill(): Promise<void> {
    try {
      await dropOldSizes();
      const lacking = [...sizes].reverse().find(([, ready]) => ready.length < options.ready);
      if (closed || lacking === undefined) return;
      const [bytes, ready] = lacking;
      const disk = await options.make(bytes);
      if (closed || sizes.get(bytes) !== ready) await options.discard(disk);
      else ready.push(disk);
      fillSoon(ready.length < options.ready / 2 ? 0 : QUIET_MS);
    } catch (error) {
      options.log.error({ reason: messageOf(error) }, 'ready disks could not be made');
      fillSoon(RETRY_MS);
    }
  }

  async function dropOldSizes(): Promise<void> {
    for (const [bytes, ready] of [...sizes].slice(0, -MAX_SIZES)) {
      sizes.delete(bytes);
      for (const disk of ready) await options.discard(disk);
    }
  }

  return {
    async take(bytes) {
      const disk = closed ? undefined : use(bytes).shift();
      fillSoon(QUIET_MS);
      return disk ?? options.make(bytes);
    },
    async close() {
      closed = true;
      clearTimeout(timer);
      await filling;
      const left = [...sizes.values()].flat();
      sizes.clear();
      for (const disk of left) await options.discard(disk);
    },
  };
}
