import { closeSync, writeSync } from 'node:fs';
import { Duplex } from 'node:stream';
import { ReadStream } from 'node:tty';
import { errnoOf } from '../../platform/errors.ts';
import type { ExitWatcher } from '../../platform/exit-watcher.ts';
import { duplicate, setNonBlocking } from '../../platform/libc-terminal.ts';

/** The kernel hands out a terminal's output in pieces of at most 4 KiB. */
const READ_BYTES = 16 * 1024;

/**
 * The master of a pseudo-terminal as a stream, with back-pressure in both directions. Node's own write end would block the whole
 * server while the program does not read what is typed; here it waits in epoll. Owns both descriptors, which are of one file.
 */
export class TerminalStream extends Duplex {
  readonly #watcher: ExitWatcher;
  readonly #source: ReadStream;
  readonly #output: number;
  #stopWaiting: (() => void) | undefined;

  constructor(watcher: ExitWatcher, master: number, output: number) {
    super({ allowHalfOpen: false, emitClose: true, autoDestroy: true });
    this.#watcher = watcher;
    this.#output = output;
    const onread = {
      buffer: Buffer.alloc(READ_BYTES),
      callback: (size: number, buffer: Uint8Array) => this.push(Buffer.from(buffer.subarray(0, size))),
    };
    this.#source = new ReadStream(master, { onread });
    // EIO is how the kernel says that no process has the other side any more.
    this.#source.on('error', (error) => {
      if (errnoOf(error) !== 'EIO') this.destroy(error);
    });
    // Its owner sees that it has closed; nobody's listening must not bring the server down.
    this.on('error', () => {});
    this.#source.once('end', () => this.push(null));
    this.#source.once('close', () => this.push(null));
  }

  /** For calls on the terminal while it is not destroyed. */
  get descriptor(): number | undefined {
    return this.destroyed ? undefined : this.#output;
  }

  override _read(): void {
    this.#source.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    let rest = chunk;
    const go = () => {
      this.#stopWaiting = undefined;
      try {
        while (rest.length > 0) rest = rest.subarray(writeSync(this.#output, rest));
        done();
      } catch (error) {
        if (errnoOf(error) === 'EAGAIN') this.#whenWritable(go);
        // What is typed into a terminal that nobody has any more is lost, as everywhere.
        else if (errnoOf(error) === 'EIO') done();
        else done(error instanceof Error ? error : new Error(String(error)));
      }
    };
    go();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#stopWaiting?.();
    this.#source.destroy();
    closeSync(this.#output);
    done(error);
  }

  #whenWritable(go: () => void): void {
    this.#stopWaiting = this.#watcher.watch(duplicate(this.#output), go, { until: 'writable' });
  }
}

/** Owns the descriptor from here on, also when this fails. */
export function openTerminalStream(watcher: ExitWatcher, master: number): TerminalStream {
  let output: number | undefined;
  try {
    // Node leaves a master blocking.
    setNonBlocking(master);
    output = duplicate(master);
    return new TerminalStream(watcher, master, output);
  } catch (error) {
    closeSync(master);
    if (output !== undefined) closeSync(output);
    throw error;
  }
}
