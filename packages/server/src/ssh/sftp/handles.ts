import { randomBytes } from 'node:crypto';
import type { FileEntry, OpenFile } from '../../runtime/file-types.ts';
import { BadMessage } from './wire.ts';

/** A file, or a directory that is being read. */
export type Handle =
  | { kind: 'file'; file: OpenFile; appends: boolean; written: Promise<unknown> }
  | { kind: 'directory'; entries: AsyncIterator<FileEntry>; ended: boolean };

const MAX_HANDLES = 256;

/** One more of those that the sandbox may have open, and how to give it back. */
export type TakeFile = () => (() => void) | undefined;

/** What one client has open. */
export class Handles {
  readonly #open = new Map<string, { handle: Handle; leave: () => void }>();
  readonly #takeFile: TakeFile;

  constructor(takeFile: TakeFile) {
    this.#takeFile = takeFile;
  }

  /** Keeps what `open` opens. Undefined, and nothing opened, when there are too many. */
  async add(open: () => Promise<Handle>): Promise<Buffer | undefined> {
    const leave = this.#open.size < MAX_HANDLES ? this.#takeFile() : undefined;
    if (leave === undefined) return undefined;
    try {
      const handle = await open();
      const name = randomBytes(8).toString('hex');
      this.#open.set(name, { handle, leave });
      return Buffer.from(name, 'latin1');
    } catch (error) {
      leave();
      throw error;
    }
  }

  file(name: string): Handle & { kind: 'file' } {
    const handle = this.#open.get(name)?.handle;
    if (handle?.kind !== 'file') throw new BadMessage('no such handle of a file');
    return handle;
  }

  directory(name: string): Handle & { kind: 'directory' } {
    const handle = this.#open.get(name)?.handle;
    if (handle?.kind !== 'directory') throw new BadMessage('no such handle of a directory');
    return handle;
  }

  async close(name: string): Promise<void> {
    const found = this.#open.get(name);
    if (found === undefined) throw new BadMessage('no such handle');
    this.#open.delete(name);
    const { handle, leave } = found;
    try {
      if (handle.kind === 'file') await handle.file.close();
      else await handle.entries.return?.();
    } finally {
      leave();
    }
  }

  async closeAll(): Promise<void> {
    await Promise.allSettled([...this.#open.keys()].map((name) => this.close(name)));
  }
}
