import { createHash, type Hash } from 'node:crypto';
import { chmodSync, closeSync, fchmodSync, fchownSync, ftruncateSync, lchownSync, lstatSync, writeSync } from 'node:fs';
import type { TarEntry, TarSink, Timestamp } from '../../images/tar/types.ts';
import type { IdShift } from '../../images/unpack/id-shift.ts';
import { setArchivedXattr } from '../../images/unpack/set-xattr.ts';
import { EntryRefused } from '../../images/unpack/unpack-error.ts';
import { hostXattr } from '../../images/unpack/xattrs.ts';
import { invalidRequest } from '../../platform/errors.ts';
import { setXattr } from '../../platform/libc.ts';
import { setFileTime, setOpenFileTime, setOpenFileXattr } from '../../platform/libc-inode.ts';
import { nameOfBytes } from '../../runtime/container/name-bytes.ts';
import type { Owner } from './file-owner.ts';
import { followPath } from './follow-path.ts';
import type { LayerDraft } from './layer-draft.ts';
import { baseOf, cleanPath, joinPath, parentOf, type TreePath } from './tree-path.ts';
import type { TreeView } from './tree-view.ts';

export interface ArchiveWriterOptions {
  /** The directory that the archive is unpacked in, which is there. For symlinks in the archive's names it is the root. */
  target: TreePath;
  shift: IdShift;
  /** Whose all entries are, whatever the archive says. */
  owner: Owner | undefined;
  /** Names that are absolute or go up are refused; otherwise only those that would leave the target. */
  strictNames: boolean;
  /** Device nodes are refused; otherwise they are left out. */
  refuseDevices: boolean;
  /** Called with the SHA-256 of each file's bytes. */
  onFile?: (path: TreePath, sha256: string) => void;
}

const NAME_MAX = 255;
const PATH_MAX = 4095;

/** Unpacks into a layer as Docker's ADD does: what is in the way is replaced, directories are merged, whiteouts are ordinary names. */
export class ArchiveWriter implements TarSink {
  readonly #draft: LayerDraft;
  readonly #options: ArchiveWriterOptions;
  readonly #view: Pick<TreeView, 'lstat' | 'readlink'>;
  readonly #times = new Map<TreePath, Timestamp>();
  #file: { fd: number; path: TreePath; hash: Hash | undefined } | undefined;
  #entry: TarEntry | undefined;
  entries = 0;
  skippedDevices = 0;

  constructor(draft: LayerDraft, options: ArchiveWriterOptions) {
    this.#draft = draft;
    this.#options = options;
    this.#view = {
      lstat: (path) => draft.lstat(joinPath(options.target, path)),
      readlink: (path) => draft.readlink(joinPath(options.target, path)),
    };
  }

  entry(entry: TarEntry): void {
    this.#draft.check();
    this.entries += 1;
    this.#entry = entry;
    this.#apply(entry);
  }

  data(bytes: Buffer, position: number): void {
    if (this.#file === undefined) return;
    const { fd, hash } = this.#file;
    this.#draft.check();
    this.#draft.count(bytes.length);
    hash?.update(bytes);
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(fd, bytes, done, bytes.length - done, position + done);
    }
  }

  endEntry(): void {
    const file = this.#file;
    const entry = this.#entry;
    if (file === undefined || entry === undefined) return;
    try {
      if (entry.sparse) ftruncateSync(file.fd, entry.size);
      const { uid, gid } = this.#ownerOf(entry);
      fchownSync(file.fd, uid, gid);
      // A change of the owner takes set-uid bits and capabilities away: this order.
      fchmodSync(file.fd, entry.mode);
      for (const [name, value] of this.#xattrsOf(entry)) {
        setArchivedXattr(name, () => setOpenFileXattr(file.fd, name, value));
      }
      setOpenFileTime(file.fd, ...timeOf(entry));
      if (file.hash !== undefined) this.#options.onFile?.(file.path, file.hash.digest('hex'));
    } finally {
      this.abandon();
    }
  }

  /** Times of directories, which the making of files in them changed. */
  finish(): void {
    for (const [path, { seconds, nanoseconds }] of this.#times) {
      if (this.#draft.lstat(path)?.isDirectory() === true) setFileTime(this.#draft.own(path), seconds, nanoseconds);
    }
  }

  /** Lets go of the file that was being written. */
  abandon(): void {
    if (this.#file !== undefined) closeSync(this.#file.fd);
    this.#file = undefined;
  }

  #apply(entry: TarEntry): void {
    const name = this.#nameOf(entry.name, 'name');
    if (entry.type === 'character-device' || entry.type === 'block-device') {
      if (this.#options.refuseDevices) throw new EntryRefused('it is a device node');
      this.skippedDevices += 1;
      return;
    }
    const path = this.#placeOf(name);
    if (path === this.#options.target) {
      // Docker passes over what is called `.`, whatever it is.
      if (!entry.name.toString('latin1').startsWith('/')) return;
      if (entry.type !== 'directory') throw new EntryRefused('it stands where the directory itself is');
      this.#dress(this.#draft.own(path), entry);
      return;
    }
    this.#ensureImplied(parentOf(path));
    const there = this.#draft.lstat(path);
    if (there !== undefined && !(there.isDirectory() && entry.type === 'directory')) this.#draft.discard(path);
    if (entry.type === 'directory') {
      const keeps = there?.isDirectory() === true;
      this.#dress(keeps ? this.#draft.own(path) : this.#draft.makeDirectory(path, entry.mode), entry);
      const [seconds, nanoseconds] = timeOf(entry);
      this.#times.set(path, { seconds, nanoseconds });
    } else this.#make(entry, path);
  }

  /** Makes directories that the archive does not list. They are root's, also in set-gid ones. */
  #ensureImplied(path: TreePath): void {
    const there = this.#draft.lstat(path);
    if (there?.isDirectory() === true) return;
    if (there !== undefined) throw invalidRequest(`/${path} is there and not a directory`);
    this.#ensureImplied(parentOf(path));
    lchownSync(this.#draft.makeDirectory(path, 0o755), this.#options.shift(0), this.#options.shift(0));
  }

  #make(entry: TarEntry, path: TreePath): void {
    switch (entry.type) {
      case 'file': {
        const hash = this.#options.onFile === undefined || entry.sparse ? undefined : createHash('sha256');
        this.#file = { fd: this.#draft.makeFile(path), path, hash };
        break;
      }
      case 'symlink':
        if (entry.linkName.length === 0) throw new EntryRefused('it is a symlink to nothing');
        if (entry.linkName.includes(0)) throw new EntryRefused('its link target has a zero byte');
        this.#dress(this.#draft.makeSymlink(path, entry.linkName), entry);
        break;
      case 'hardlink':
        this.#makeLink(entry, path);
        break;
      default:
        this.#dress(this.#draft.makeFifo(path), entry);
    }
  }

  #makeLink(entry: TarEntry, path: TreePath): void {
    const existing = this.#placeOf(this.#nameOf(entry.linkName, 'link target'));
    const there = this.#draft.lstat(existing);
    if (there === undefined || there.isDirectory() || existing === path) {
      throw new EntryRefused(
        `it is a hard link to ${JSON.stringify(entry.linkName.toString())}, which is no file there`,
      );
    }
    this.#dress(this.#draft.makeLink(path, existing), entry);
  }

  /** Relative to the target; as it is written, but for what says nothing. */
  #nameOf(bytes: Buffer, what: string): string {
    const name = nameOfBytes(bytes);
    if (bytes.includes(0)) throw new EntryRefused(`its ${what} has a zero byte`);
    if (bytes.length > PATH_MAX) throw new EntryRefused(`its ${what} is too long`);
    if (this.#options.strictNames && name.startsWith('/')) throw new EntryRefused(`its ${what} is absolute`);
    let depth = 0;
    for (const part of name.split('/')) {
      if (part === '..') depth -= 1;
      else if (part !== '' && part !== '.') depth += 1;
      if (part === '..' && (this.#options.strictNames || (depth < 0 && !name.startsWith('/')))) {
        throw new EntryRefused(`its ${what} leads out by ".."`);
      }
      if (Buffer.byteLength(part) > NAME_MAX) throw new EntryRefused(`a part of its ${what} is too long`);
    }
    return cleanPath(name);
  }

  /** Symlinks on the way are followed, inside the target; one at the end is not. */
  #placeOf(name: TreePath): TreePath {
    if (name === '') return this.#options.target;
    const parent = followPath(this.#view, parentOf(name));
    return joinPath(this.#options.target, joinPath(parent, baseOf(name)));
  }

  #ownerOf(entry: TarEntry): Owner {
    const { uid, gid } = this.#options.owner ?? entry;
    return { uid: this.#options.shift(uid), gid: this.#options.shift(gid) };
  }

  #dress(at: string | Buffer, entry: TarEntry): void {
    const { uid, gid } = this.#ownerOf(entry);
    lchownSync(at, uid, gid);
    const stats = lstatSync(at);
    if (!stats.isSymbolicLink()) chmodSync(at, entry.mode);
    // Others have none in an unpacked layer either.
    if (stats.isFile() || stats.isDirectory()) {
      for (const [name, value] of this.#xattrsOf(entry)) setArchivedXattr(name, () => setXattr(at, name, value));
    }
    setFileTime(at, ...timeOf(entry));
  }

  *#xattrsOf(entry: TarEntry): Generator<[string, Buffer]> {
    for (const [name, value] of entry.xattrs) {
      const kept = name.includes('\0') ? undefined : hostXattr(name, value, this.#options.shift);
      if (kept !== undefined) yield [Buffer.from(name, 'latin1').toString(), kept];
    }
  }
}

/** As Docker: nothing is from before 1970. */
function timeOf({ mtime }: TarEntry): [seconds: number, nanoseconds: number] {
  return mtime.seconds < 0 ? [0, 0] : [mtime.seconds, mtime.nanoseconds];
}
