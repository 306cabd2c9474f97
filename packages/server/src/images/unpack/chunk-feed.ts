/** As much goes over to the worker at once: a message costs the same for one byte and for a megabyte. */
const BATCH_BYTES = 256 * 1024;
/** Bytes on the way or waiting in the worker. */
const WINDOW_BYTES = 4 * 1024 * 1024;

export interface ChunkFeed {
  /** Sends the source to its end. Ends early, without an error, after `stop`. */
  run(): Promise<void>;
  consumed(bytes: number): void;
  /** Sends nothing more, and closes the source without waiting for it. */
  stop(): void;
}

/**
 * Copies the source into batches that are handed over whole: a chunk is often a view on a buffer that its maker still
 * uses, and handing that over would take it away from there.
 */
export function createChunkFeed(source: AsyncIterable<Uint8Array>, send: (batch: ArrayBuffer) => void): ChunkFeed {
  const iterator = source[Symbol.asyncIterator]();
  let batch = new Uint8Array(BATCH_BYTES);
  let filled = 0;
  let inFlight = 0;
  let stopped = false;
  let wake = () => {};

  async function flush(): Promise<void> {
    if (filled === 0) return;
    while (inFlight >= WINDOW_BYTES && !stopped) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (stopped) return;
    inFlight += filled;
    send(filled === BATCH_BYTES ? batch.buffer : batch.buffer.slice(0, filled));
    batch = new Uint8Array(BATCH_BYTES);
    filled = 0;
  }

  return {
    async run() {
      while (!stopped) {
        const result = await iterator.next();
        if (stopped) return;
        if (result.done === true) return await flush();
        const bytes = result.value;
        for (let at = 0; at < bytes.length && !stopped; ) {
          const piece = bytes.subarray(at, at + BATCH_BYTES - filled);
          batch.set(piece, filled);
          filled += piece.length;
          at += piece.length;
          if (filled === BATCH_BYTES) await flush();
        }
      }
    },
    consumed(bytes) {
      inFlight -= bytes;
      wake();
    },
    stop() {
      stopped = true;
      wake();
      // A generator that waits for its network answers only when that does.
      Promise.resolve(iterator.return?.()).catch(() => {});
    },
  };
}
