import { randomBytes } from 'node:crypto';
import type { FileEntry, OpenFile } from '../../runtime/file-types.ts';
import { BadMessage } from './wire.ts';

/** A file, or a directory that is being read. */
export type Handle =
  | { kind: 'file'; file: OpenFile; appends: boolean; written: Promise<unknown> }
  | { kind: 'directory'; entries: AsyncIterator<FileEntry>; ended: boolean };

const MAX_HANDLES = 256;

/** What one client has open. */
export class Handles {
  readonly #open = new Map<string, Handle>();

  get isFull(): boolean {
    return this.#open.size >= MAX_HANDLES;
  }

  add(handle: Handle): Buffer {
    const name = randomBytes(8).toString('hex');
    this.#open.set(name, handle);
    return Buffer.from(name, 'latin1');
  }

  file(name: string): Handle & { kind: 'file' } {
    const handle = this.#open.get(name);
    if (handle?.kind !== 'file') throw new BadMessage('no such handle of a file');
    return handle;
  }

  directory(name: string): Handle & { kind: 'directory' } {
    const handle = this.#open.get(name);
    if (handle?.kind !== 'directory') throw new BadMessage('no such handle of a directory');
    return handle;
  }

  async close(name: string): Promise<void> {
    const handle = this.#open.get(name);
    if (handle === undefined) throw new BadMessage('no such handle');
    this.#open.delete(name);
    if (handle.kind === 'file') await handle.file.close();
    else await handle.entries.return?.();
  }

  async closeAll(): Promise<void> {
    await Promise.allSettled([...this.#open.keys()].map((name) => this.close(name)));
  }
}
