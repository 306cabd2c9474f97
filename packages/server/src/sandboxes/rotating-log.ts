import { appendFile, mkdir, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Of each of the two files: the one that is written, and the one before it. */
export const LOG_FILE_BYTES = 2 * 1024 * 1024;

/** A log that keeps its end: `path` and, when that was full, the older `path.1`. One writer; calls one after the other. */
export class RotatingLog {
  readonly path: string;
  #size: number | undefined;

  constructor(path: string) {
    this.path = path;
  }

  async append(chunk: Uint8Array): Promise<void> {
    if (this.#size === undefined) {
      await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
      this.#size = await stat(this.path).then(
        (found) => found.size,
        () => 0,
      );
    }
    if (this.#size >= LOG_FILE_BYTES) {
      await rename(this.path, `${this.path}.1`);
      this.#size = 0;
    }
    await appendFile(this.path, chunk, { mode: 0o600 });
    this.#size += chunk.length;
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
    await rm(`${this.path}.1`, { force: true });
    this.#size = undefined;
  }
}
