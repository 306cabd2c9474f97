import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { DarkroomError, invalidRequest } from '../../platform/errors.ts';
import { mknod, setXattr } from '../../platform/libc.ts';
import { setFileTime, setOpenFileTime } from '../../platform/libc-inode.ts';
import { bytesOfName, nameOfBytes } from '../../runtime/container/name-bytes.ts';
import { copyData } from './copy-data.ts';
import { keptXattrs, setOpenXattrs, setXattrs } from './kept-xattrs.ts';
import { joinPath, parentOf, type TreePath } from './tree-path.ts';
import { EMPTY_TREE, hostPath, statAt, type TreeView, treeAt } from './tree-view.ts';

export interface LayerDraftOptions {
  /** The new layer: an empty directory that nobody else knows. */
  upper: string;
  /** The merged tree of the layers below; undefined for an empty one. */
  parent: TreeView | undefined;
  /** The host's id of the image's root. */
  idBase: number;
  maxBytes: number;
  maxEntries: number;
  /** Raises when the call was cancelled. */
  check: () => void;
}

const CREATE = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const S_IFIFO = 0o010000;
const S_ISGID = 0o2000;
const OPAQUE = 'trusted.overlay.opaque';
const BILLION = 1_000_000_000n;

/**
 * A layer in the making, and the tree that it will show over the ones below. It is written in overlayfs form without a mount, so that
 * large files can share their blocks with where they come from. A directory that gets something new is first made here as it looks below;
 * one that is made where the tree below has another that must not show is opaque.
 */
export class LayerDraft implements TreeView {
  readonly idBase: number;
  readonly #options: LayerDraftOptions;
  readonly #root: string;
  readonly #parent: TreeView;
  /** Directories that are in the layer. Nobody else writes here, so a path below one of them leads through no symlink. */
  readonly #made = new Set<TreePath>();
  /** Those that show nothing of what is below. */
  readonly #bare = new Set<TreePath>();
  /** Of directories that are not in the layer, until something is made: whether what the tree below has in them is hidden. Paths may have thousands of names. */
  readonly #hiding = new Map<TreePath, boolean>();
  #bytes = 0;
  #entries = 0;

  constructor(options: LayerDraftOptions) {
    this.#options = options;
    this.#root = options.upper;
    this.#parent = options.parent ?? EMPTY_TREE;
    this.idBase = options.idBase;
    this.#made.add('');
    const below = this.#parent.lstat('');
    if (below === undefined) {
      lchownSync(this.#root, this.idBase, this.idBase);
      chmodSync(this.#root, 0o755);
    } else this.#dressAs('', below);
  }

  get written(): { sizeBytes: number; entries: number } {
    return { sizeBytes: this.#bytes, entries: this.#entries };
  }

  check(): void {
    this.#options.check();
  }

  lstat(path: TreePath): BigIntStats | undefined {
    return this.#ownStat(path) ?? this.#statBelow(path);
  }

  readlink(path: TreePath): string {
    return this.#ownStat(path) === undefined ? this.#parent.readlink(path) : treeAt(this.#root).readlink(path);
  }

  names(path: TreePath): string[] {
    const own = this.#made.has(path) ? treeAt(this.#root).names(path) : [];
    const below = this.#isHidden(joinPath(path, 'x')) ? [] : this.#parent.names(path);
    return [...new Set([...own, ...below])];
  }

  /** In the layer when it is there, else below. */
  locate(path: TreePath): string | Buffer {
    return this.#ownStat(path) === undefined ? this.#parent.locate(path) : this.#at(path);
  }

  /** Makes sure that the layer itself has the directory, as it looks below. The place of it on the host. */
  own(path: TreePath): string | Buffer {
    if (!this.#made.has(path)) {
      const below = this.#statBelow(path);
      if (below?.isDirectory() !== true) throw invalidRequest(`/${path} is not a directory`);
      this.own(parentOf(path));
      this.#hiding.clear();
      const before = statAt(this.#at(parentOf(path)));
      mkdirSync(this.#at(path), 0o700);
      this.#made.add(path);
      this.#dressAs(path, below);
      // Overlayfs too leaves the time of a directory alone when it copies something in it up.
      if (before !== undefined) this.setTime(parentOf(path), before.mtimeNs);
    }
    return this.#at(path);
  }

  /** Makes a directory where nothing is. It is root's; in a set-gid directory, as everywhere, it is of that one's group and set-gid too. */
  makeDirectory(path: TreePath, mode: number): string | Buffer {
    const at = this.#prepare(path);
    const group = this.#inheritedGroup(path);
    const hides = this.#statBelow(path)?.isDirectory() === true;
    mkdirSync(at, mode);
    lchownSync(at, this.idBase, group ?? this.idBase);
    chmodSync(at, group === undefined ? mode : mode | S_ISGID);
    this.#made.add(path);
    this.#bare.add(path);
    if (hides) setXattr(at, OPAQUE, Buffer.from('y'));
    return at;
  }

  /** Opens a new file for writing, in the place of one that is there. */
  makeFile(path: TreePath): number {
    return openSync(this.#prepare(path), CREATE, 0o600);
  }

  makeSymlink(path: TreePath, target: string | Buffer): string | Buffer {
    const at = this.#prepare(path);
    symlinkSync(typeof target === 'string' ? bytesOfName(target) : target, at);
    return at;
  }

  makeFifo(path: TreePath): string | Buffer {
    const at = this.#prepare(path);
    mknod(at, S_IFIFO | 0o600);
    return at;
  }

  /** One more name for something that is there and no directory. */
  makeLink(path: TreePath, existing: TreePath): string | Buffer {
    if (this.#ownStat(existing) === undefined) this.#copyUp(existing);
    const at = this.#prepare(path);
    linkSync(this.#at(existing), at);
    return at;
  }

  /** Takes away what the layer itself has here. What is below shows again, unless something is made in its place. */
  discard(path: TreePath): void {
    if (path === '') throw invalidRequest('the root directory cannot be replaced');
    const own = this.#ownStat(path);
    if (own === undefined) return;
    this.#hiding.clear();
    if (!own.isDirectory()) {
      unlinkSync(this.#at(path));
      return;
    }
    for (const name of readdirSync(this.#at(path), { encoding: 'buffer' }))
      this.discard(joinPath(path, nameOfBytes(name)));
    rmdirSync(this.#at(path));
    this.#made.delete(path);
    this.#bare.delete(path);
  }

  setTime(path: TreePath, mtimeNs: bigint): void {
    setPathTime(this.#at(path), mtimeNs);
  }

  count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes <= this.#options.maxBytes) return;
    throw new DarkroomError('quota_exceeded', `the step writes more than ${this.#options.maxBytes} bytes`);
  }

  /** Makes room for a new name: its directory is in the layer, and nothing of the layer's own has the name. */
  #prepare(path: TreePath): string | Buffer {
    if (path === '') throw invalidRequest('the root directory cannot be replaced');
    this.#options.check();
    this.#entries += 1;
    if (this.#entries > this.#options.maxEntries) {
      throw new DarkroomError('quota_exceeded', `the step makes more than ${this.#options.maxEntries} files`);
    }
    this.own(parentOf(path));
    this.#hiding.clear();
    const own = this.#ownStat(path);
    if (own !== undefined && !own.isDirectory()) unlinkSync(this.#at(path));
    return this.#at(path);
  }

  /** The host's id of the group that new things get from the directory that they are made in. */
  #inheritedGroup(path: TreePath): number | undefined {
    const parent = this.lstat(parentOf(path));
    return parent !== undefined && (Number(parent.mode) & S_ISGID) !== 0 ? Number(parent.gid) : undefined;
  }

  #at(path: TreePath): string | Buffer {
    return hostPath(this.#root, path);
  }

  #ownStat(path: TreePath): BigIntStats | undefined {
    return path === '' || this.#made.has(parentOf(path)) ? statAt(this.#at(path)) : undefined;
  }

  #statBelow(path: TreePath): BigIntStats | undefined {
    return this.#isHidden(path) ? undefined : this.#parent.lstat(path);
  }

  /** Whether the nearest directory of the layer on the way shows nothing of what is below, or something else is in the way. */
  #isHidden(path: TreePath): boolean {
    if (path === '') return false;
    const passed: TreePath[] = [];
    let hides: boolean | undefined;
    for (let at = parentOf(path); hides === undefined; at = parentOf(at)) {
      if (this.#made.has(at)) hides = this.#bare.has(at);
      else {
        hides = this.#hiding.get(at) ?? (this.#ownStat(at) === undefined ? undefined : true);
        passed.push(at);
      }
    }
    for (const at of passed) this.#hiding.set(at, hides);
    return hides;
  }

  #dressAs(path: TreePath, like: BigIntStats): void {
    const at = this.#at(path);
    lchownSync(at, Number(like.uid), Number(like.gid));
    chmodSync(at, Number(like.mode) & 0o7777);
    setXattrs(at, keptXattrs(this.#parent.locate(path)));
    setPathTime(at, like.mtimeNs);
  }

  /** A file of the tree below as the layer's own. */
  #copyUp(path: TreePath): void {
    const like = this.#statBelow(path);
    if (like?.isFile() !== true) throw invalidRequest(`/${path} is not a file`);
    const source = this.#parent.locate(path);
    const from = openSync(source, READ);
    try {
      const to = this.makeFile(path);
      try {
        this.count(Number(like.size));
        copyData(from, to, like.size, () => this.check());
        fchownSync(to, Number(like.uid), Number(like.gid));
        fchmodSync(to, Number(like.mode) & 0o7777);
        setOpenXattrs(to, keptXattrs(source));
        setOpenFileTime(to, ...secondsOf(like.mtimeNs));
      } finally {
        closeSync(to);
      }
    } finally {
      closeSync(from);
    }
  }
}

export function setPathTime(path: string | Buffer, mtimeNs: bigint): void {
  setFileTime(path, ...secondsOf(mtimeNs));
}

export function secondsOf(ns: bigint): [seconds: number, nanoseconds: number] {
  const rest = ((ns % BILLION) + BILLION) % BILLION;
  return [Number((ns - rest) / BILLION), Number(rest)];
}
