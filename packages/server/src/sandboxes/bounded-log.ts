import { constants, type FSWatcher, watch } from 'node:fs';
import { mkdir, open, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf } from '../platform/errors.ts';

/** A log past this keeps its last quarter. */
export const LOG_MAX_BYTES = 4 * 1024 * 1024;
const CHECK_INTERVAL_MS = 500;

/**
 * A file that a process of a sandbox appends to on its own (it outlives the server), kept short by cutting its head off. Lines
 * that are written during the cut may be lost.
 */
export class BoundedLog {
  readonly path: string;
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** Opens it for a new run of the process, empty. The caller closes the descriptor. */
  async openForProcess() {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    await rm(this.path, { force: true });
    const { O_WRONLY, O_CREAT, O_APPEND } = constants;
    return open(this.path, O_WRONLY | O_CREAT | O_APPEND, 0o600);
  }

  /** From now on keeps it short; nothing happens when the file is not there. */
  watch(onError: (error: unknown) => void): void {
    try {
      this.#watcher ??= watch(this.path, { persistent: false }, () => this.#soon(onError));
      this.#watcher.on('error', onError);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') onError(error);
    }
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    clearTimeout(this.#timer);
  }

  async remove(): Promise<void> {
    this.close();
    await rm(this.path, { force: true });
  }

  #soon(onError: (error: unknown) => void): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      shorten(this.path).catch(onError);
    }, CHECK_INTERVAL_MS);
    this.#timer.unref();
  }
}

/** The process has the file open for appending, so it goes on behind whatever is left. */
async function shorten(path: string): Promise<void> {
  const { size } = await stat(path).catch(() => ({ size: 0 }));
  if (size <= LOG_MAX_BYTES) return;
  await using file = await open(path, constants.O_RDWR | constants.O_APPEND);
  const kept = Buffer.alloc(LOG_MAX_BYTES / 4);
  const { bytesRead } = await file.read(kept, 0, kept.length, size - kept.length);
  await file.truncate(0);
  const tail = kept.subarray(0, bytesRead);
  await file.write(tail.subarray(tail.indexOf(0x0a) + 1));
}
