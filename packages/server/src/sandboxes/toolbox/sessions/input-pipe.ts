import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { errnoOf } from '../../../platform/errors.ts';
import { pipe } from '../../../platform/libc-files.ts';

const DRAIN_BYTES = 64 * 1024;
/** A pipe holds 64 KiB; a process of the sandbox that writes to its own input must not keep us here. */
const MAX_DRAINS = 64;

/**
 * The standard input of the commands of a session. Both sides hold both ends: ours to take back what a command left unread
 * before the next one begins, the session's so that nothing there finds the input ended when the server is.
 */
export class InputPipe {
  /** For the process; close it with `closeTheirs` when it was handed over. */
  readonly theirs: number;
  readonly #ours: number;
  #closed = false;

  constructor() {
    const ends = pipe();
    try {
      this.theirs = openSync(`/proc/self/fd/${ends.read}`, constants.O_RDWR);
      // A description of its own: the process's must go on blocking.
      this.#ours = openSync(`/proc/self/fd/${ends.read}`, constants.O_RDWR | constants.O_NONBLOCK);
    } finally {
      closeSync(ends.read);
      closeSync(ends.write);
    }
  }

  closeTheirs(): void {
    closeSync(this.theirs);
  }

  /** How much of it there was room for. */
  write(data: Buffer): number {
    if (this.#closed) return 0;
    try {
      return writeSync(this.#ours, data);
    } catch (error) {
      if (errnoOf(error) === 'EAGAIN') return 0;
      throw error;
    }
  }

  drain(): void {
    const buffer = Buffer.alloc(DRAIN_BYTES);
    for (let round = 0; round < MAX_DRAINS && !this.#closed; round += 1) {
      try {
        if (readSync(this.#ours, buffer) === 0) return;
      } catch (error) {
        if (errnoOf(error) === 'EAGAIN') return;
        throw error;
      }
    }
  }

  close(): void {
    if (!this.#closed) closeSync(this.#ours);
    this.#closed = true;
  }
}
