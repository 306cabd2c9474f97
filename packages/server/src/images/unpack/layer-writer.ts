import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  openSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { crc32 } from 'node:zlib';
import { DarkroomError, errnoOf } from '../../platform/errors.ts';
import { mknod, setXattr } from '../../platform/libc.ts';
import { setFileTime, setOpenFileTime, setOpenFileXattr } from '../../platform/libc-inode.ts';
import type { TarEntry, TarSink } from '../tar/types.ts';
import { baseOf, type EntryPath, entryPath, joinPath, parentOf } from './entry-path.ts';
import { createIdShift, type IdShift } from './id-shift.ts';
import { LayerTree } from './layer-tree.ts';
import { setArchivedXattr } from './set-xattr.ts';
import { EntryRefused, entryError, UnpackCancelled } from './unpack-error.ts';
import { hostXattr } from './xattrs.ts';

export interface LayerWriterOptions {
  directory: string;
  idBase: number;
  idCount: number;
  maxBytes: number;
  maxEntries: number;
  isCancelled: () => boolean;
}

export interface WrittenLayer {
  sizeBytes: number;
  entries: number;
  skippedDevices: number;
}

const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** Hostile archives have millions of names; their bytes are not compared then. */
const MAX_CRCS = 500_000;
const S_IFIFO = 0o010000;
const WHITEOUT = '.wh.';
const WHITEOUT_META = '.wh..wh.';
const WHITEOUT_OPAQUE = '.wh..wh..opq';

/** Applies the entries of a layer to an empty directory, in overlayfs form and with shifted ids. */
export class LayerWriter implements TarSink {
  readonly #options: LayerWriterOptions;
  readonly #tree: LayerTree;
  readonly #shift: IdShift;
  readonly #written: WrittenLayer = { sizeBytes: 0, entries: 0, skippedDevices: 0 };
  /** Of the bytes of files that have no holes, for those who compare them later. */
  readonly #crcs = new Map<EntryPath, number>();
  #crc = 0;
  #madeEntries = 0;
  #current: TarEntry | undefined;
  #fd: number | undefined;

  constructor(options: LayerWriterOptions) {
    this.#options = options;
    this.#shift = createIdShift(options);
    this.#tree = new LayerTree(options.directory, {
      rootId: options.idBase,
      countEntry: () => this.#countEntry(),
    });
  }

  entry(entry: TarEntry): void {
    if (this.#options.isCancelled()) throw new UnpackCancelled();
    this.#current = entry;
    try {
      this.#countEntry();
      this.#apply(entry, entryPath(entry.name, 'name'));
    } catch (error) {
      throw entryError(entry.name, error);
    }
  }

  data(bytes: Buffer, position: number): void {
    const fd = this.#fd;
    if (fd === undefined) return;
    if (this.#options.isCancelled()) throw new UnpackCancelled();
    this.#written.sizeBytes += bytes.length;
    this.#checkSize(0);
    this.#crc = crc32(bytes, this.#crc);
    try {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(fd, bytes, done, bytes.length - done, position + done);
      }
    } catch (error) {
      throw entryError(this.#current?.name ?? '', error);
    }
  }

  endEntry(): void {
    const fd = this.#fd;
    const entry = this.#current;
    if (fd === undefined || entry === undefined) return;
    try {
      if (entry.sparse) ftruncateSync(fd, entry.size);
      fchownSync(fd, this.#shift(entry.uid), this.#shift(entry.gid));
      // chown clears setuid and setgid, and both a write and a chown clear capabilities: this order.
      fchmodSync(fd, entry.mode);
      for (const [name, value] of this.#xattrsOf(entry)) {
        setArchivedXattr(name, () => setOpenFileXattr(fd, name, value));
      }
      setOpenFileTime(fd, entry.mtime.seconds, entry.mtime.nanoseconds);
      this.#noteCrc(entryPath(entry.name, 'name'), entry.sparse ? undefined : this.#crc);
    } catch (error) {
      throw entryError(entry.name, error);
    } finally {
      this.#close();
    }
  }

  /** As bytes went through; null where nobody looked. */
  crcOf(path: EntryPath): number | null {
    return this.#crcs.get(path) ?? null;
  }

  #noteCrc(path: EntryPath, crc: number | undefined): void {
    if (crc === undefined || (this.#crcs.size >= MAX_CRCS && !this.#crcs.has(path))) this.#crcs.delete(path);
    else this.#crcs.set(path, crc);
  }

  get sizeBytes(): number {
    return this.#written.sizeBytes;
  }

  /** All that were in the archive, also those that were left out. */
  get madeEntries(): number {
    return this.#madeEntries;
  }

  finish(): WrittenLayer {
    this.#tree.finish();
    return this.#written;
  }

  /** Lets go of the file that was being written. */
  abandon(): void {
    this.#close();
  }

  #close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #countEntry(): void {
    this.#madeEntries++;
    if (this.#madeEntries <= this.#options.maxEntries) return;
    throw new DarkroomError('image_invalid', `the layer has more than ${this.#options.maxEntries} entries`);
  }

  #checkSize(ahead: number): void {
    if (this.#written.sizeBytes + ahead <= this.#options.maxBytes) return;
    throw new DarkroomError('image_invalid', `the layer unpacks to more than ${this.#options.maxBytes} bytes`, {
      details: { reason: 'too_large' },
    });
  }

  #apply(entry: TarEntry, path: EntryPath): void {
    if (path.includes(WHITEOUT) && this.#applyMarker(path)) return;
    if (entry.type === 'character-device' || entry.type === 'block-device') {
      this.#written.skippedDevices++;
      return;
    }
    if (path === '' && entry.type !== 'directory') throw new EntryRefused('it stands where the root directory is');
    this.#tree.ensureParent(path);
    switch (entry.type) {
      case 'file':
        this.#openFile(entry, path);
        break;
      case 'directory':
        this.#makeDirectory(entry, path);
        break;
      case 'symlink':
        this.#makeSymlink(entry, path);
        break;
      case 'hardlink':
        this.#makeHardLink(entry, path);
        break;
      case 'fifo':
        this.#makeFifo(entry, path);
        break;
    }
    this.#written.entries++;
  }

  /** Whether the name was a marker of the AUFS kind, which OCI took over, and not an entry. */
  #applyMarker(path: EntryPath): boolean {
    const parent = parentOf(path);
    const base = baseOf(path);
    const parents = parent.split('/');
    // AUFS's own book-keeping, which old Docker versions left in layers.
    if (parents.some((part) => part.startsWith(WHITEOUT_META))) return true;
    if (parents.some((part) => part.startsWith(WHITEOUT))) throw new EntryRefused('its parent is a whiteout');
    if (!base.startsWith(WHITEOUT)) return false;
    if (base === WHITEOUT_OPAQUE) {
      this.#tree.makeOpaque(parent);
      this.#written.entries++;
      return true;
    }
    if (base.startsWith(WHITEOUT_META)) return true;
    const hidden = base.slice(WHITEOUT.length);
    if (hidden === '' || hidden === '.' || hidden === '..') throw new EntryRefused('it is a whiteout of nothing');
    this.#tree.ensureParent(path);
    this.#tree.whiteout(joinPath(parent, hidden));
    this.#written.entries++;
    return true;
  }

  /** Owner, mode and the rest wait for the end of the data, which would undo some of them. */
  #openFile(entry: TarEntry, path: EntryPath): void {
    if (!entry.sparse) this.#checkSize(entry.size);
    this.#crc = 0;
    this.#tree.makeOver(path, (absolute) => {
      this.#fd = openSync(absolute, CREATE, 0o600);
    });
  }

  #makeDirectory(entry: TarEntry, path: EntryPath): void {
    this.#tree.makeDirectory(path);
    const absolute = this.#tree.absolute(path);
    chownSync(absolute, this.#shift(entry.uid), this.#shift(entry.gid));
    chmodSync(absolute, entry.mode);
    for (const [name, value] of this.#xattrsOf(entry)) {
      setArchivedXattr(name, () => setXattr(absolute, name, value));
    }
    this.#tree.setDirectoryTime(path, entry.mtime);
  }

  #makeSymlink(entry: TarEntry, path: EntryPath): void {
    if (entry.linkName.length === 0) throw new EntryRefused('it is a symlink to nothing');
    if (entry.linkName.includes(0)) throw new EntryRefused('its link target has a zero byte');
    this.#tree.makeOver(path, (absolute) => symlinkSync(entry.linkName, absolute));
    const absolute = this.#tree.absolute(path);
    lchownSync(absolute, this.#shift(entry.uid), this.#shift(entry.gid));
    setFileTime(absolute, entry.mtime.seconds, entry.mtime.nanoseconds);
  }

  #makeHardLink(entry: TarEntry, path: EntryPath): void {
    const target = entryPath(entry.linkName, 'link target');
    if (target === path) return;
    const missing = () =>
      new EntryRefused(
        `it is a hard link to ${JSON.stringify(entry.linkName.toString())}, which the layer does not have`,
      );
    if (this.#tree.isDirectory(target)) throw new EntryRefused('it is a hard link to a directory');
    if (!this.#tree.isDirectory(parentOf(target))) throw missing();
    try {
      if (this.#tree.isWhiteout(target)) throw missing();
      this.#tree.makeOver(path, (absolute) => linkSync(this.#tree.absolute(target), absolute));
      this.#noteCrc(path, this.#crcs.get(target));
    } catch (error) {
      throw errnoOf(error) === 'ENOENT' ? missing() : error;
    }
  }

  #makeFifo(entry: TarEntry, path: EntryPath): void {
    this.#tree.makeOver(path, (absolute) => mknod(absolute, S_IFIFO | 0o600));
    const absolute = this.#tree.absolute(path);
    lchownSync(absolute, this.#shift(entry.uid), this.#shift(entry.gid));
    chmodSync(absolute, entry.mode);
    setFileTime(absolute, entry.mtime.seconds, entry.mtime.nanoseconds);
  }

  *#xattrsOf(entry: TarEntry): Generator<[string, Buffer]> {
    for (const [name, value] of entry.xattrs) {
      // A zero byte would make another name of it.
      const kept = name.includes('\0') ? undefined : hostXattr(name, value, this.#shift);
      if (kept !== undefined) yield [Buffer.from(name, 'latin1').toString(), kept];
    }
  }
}
