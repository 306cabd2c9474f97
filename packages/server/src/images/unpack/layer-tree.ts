import { chmodSync, chownSync, lstatSync, mkdirSync, readdirSync, rmdirSync, type Stats, unlinkSync } from 'node:fs';
import { errnoOf } from '../../platform/errors.ts';
import { mknod, setXattr } from '../../platform/libc.ts';
import { setFileTime } from '../../platform/libc-inode.ts';
import { IMPLIED } from '../implied-directories.ts';
import type { Timestamp } from '../tar/types.ts';
import { type EntryPath, joinPath, parentOf } from './entry-path.ts';
import { EntryRefused } from './unpack-error.ts';

const PATH_MAX = 4096;
const S_IFCHR = 0o020000;
const OPAQUE = 'trusted.overlay.opaque';
const EPOCH: Timestamp = { seconds: 0, nanoseconds: 0 };

/**
 * The directory that a layer grows in. It starts empty and nobody else writes in it, so the directories that were made
 * here are all there are: a path whose parent is one of them cannot lead through a symlink, and no system call has to
 * look. Every call on a last part that may be a symlink is one that does not follow it.
 */
export class LayerTree {
  readonly #root: string;
  readonly #rootId: number;
  readonly #countEntry: () => void;
  readonly #directories = new Map<EntryPath, Timestamp>();
  /** Those that no entry of the archive is for. */
  readonly #implied = new Set<EntryPath>();

  constructor(directory: string, options: { rootId: number; countEntry: () => void }) {
    this.#root = Buffer.from(directory).toString('latin1');
    this.#rootId = options.rootId;
    this.#countEntry = options.countEntry;
    this.#adopt('');
  }

  /** The path on the host. */
  absolute(path: EntryPath): Buffer {
    const full = path === '' ? this.#root : `${this.#root}/${path}`;
    if (full.length >= PATH_MAX) throw new EntryRefused('its name is too long');
    return Buffer.from(full, 'latin1');
  }

  isDirectory(path: EntryPath): boolean {
    return this.#directories.has(path);
  }

  /** Makes the parents that the archive did not list. */
  ensureParent(path: EntryPath): void {
    this.#ensureImplied(parentOf(path));
  }

  #ensureImplied(path: EntryPath): void {
    if (this.#directories.has(path)) return;
    this.ensureParent(path);
    this.#countEntry();
    const existing = this.#tryMkdir(path);
    if (existing !== undefined && !isWhiteout(existing)) {
      const kind = existing.isSymbolicLink() ? 'a symlink' : 'not a directory';
      throw new EntryRefused(`its parent ${JSON.stringify(Buffer.from(path, 'latin1').toString())} is ${kind}`);
    }
    if (existing !== undefined) this.#replaceWhiteout(path);
    this.#adopt(path);
    this.#implied.add(path);
  }

  /** An entry for a directory: makes it, or keeps what is there when that is one. */
  makeDirectory(path: EntryPath): void {
    this.#implied.delete(path);
    if (this.#directories.has(path)) return;
    const existing = this.#tryMkdir(path);
    if (existing !== undefined && isWhiteout(existing)) this.#replaceWhiteout(path);
    else if (existing !== undefined) {
      unlinkSync(this.absolute(path));
      mkdirSync(this.absolute(path));
    }
    this.#directories.set(path, EPOCH);
  }

  /** What is in the way, if anything. */
  #tryMkdir(path: EntryPath): Stats | undefined {
    const absolute = this.absolute(path);
    try {
      mkdirSync(absolute);
      return undefined;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      return lstatSync(absolute);
    }
  }

  /** A directory that the layer removes and makes again shows nothing of the one below. */
  #replaceWhiteout(path: EntryPath): void {
    const absolute = this.absolute(path);
    unlinkSync(absolute);
    mkdirSync(absolute);
    setXattr(absolute, OPAQUE, Buffer.from('y'));
  }

  #adopt(path: EntryPath): void {
    const absolute = this.absolute(path);
    chownSync(absolute, this.#rootId, this.#rootId);
    chmodSync(absolute, 0o755);
    this.#directories.set(path, EPOCH);
  }

  /** Making files in a directory changes its time, so times wait for `finish`. */
  setDirectoryTime(path: EntryPath, time: Timestamp): void {
    this.#directories.set(path, time);
  }

  /** Runs `make`, which must fail with EEXIST where something is; the later entry wins over that. */
  makeOver(path: EntryPath, make: (absolute: Buffer) => void): void {
    const absolute = this.absolute(path);
    try {
      make(absolute);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      this.remove(path);
      make(absolute);
    }
  }

  remove(path: EntryPath): void {
    if (path === '') throw new EntryRefused('it stands where the root directory is');
    const absolute = this.absolute(path);
    if (!this.#directories.has(path)) {
      unlinkSync(absolute);
      return;
    }
    for (const name of readdirSync(absolute, { encoding: 'buffer' })) {
      this.remove(joinPath(path, name.toString('latin1')));
    }
    rmdirSync(absolute);
    this.#directories.delete(path);
    this.#implied.delete(path);
  }

  /** Hides what the layers below have here. What this layer itself has stays (OCI image spec, layer.md, Whiteouts). */
  whiteout(path: EntryPath): void {
    const absolute = this.absolute(path);
    try {
      mknod(absolute, S_IFCHR);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      if (this.#directories.has(path)) this.makeOpaque(path);
    }
  }

  makeOpaque(path: EntryPath): void {
    this.#ensureImplied(path);
    setXattr(this.absolute(path), OPAQUE, Buffer.from('y'));
  }

  isWhiteout(path: EntryPath): boolean {
    return isWhiteout(lstatSync(this.absolute(path)));
  }

  finish(): void {
    if (this.#implied.size > 0) setXattr(this.absolute(''), IMPLIED, Buffer.from('y'));
    for (const path of this.#implied) setXattr(this.absolute(path), IMPLIED, Buffer.from('y'));
    for (const [path, time] of this.#directories) setFileTime(this.absolute(path), time.seconds, time.nanoseconds);
  }
}

function isWhiteout(stats: Stats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0;
}
