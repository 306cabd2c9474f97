import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  lchownSync,
  openSync,
} from 'node:fs';
import { invalidRequest } from '../../platform/errors.ts';
import { setOpenFileTime } from '../../platform/libc-inode.ts';
import { copyData, isWorthSharing } from './copy-data.ts';
import type { ModeChange } from './file-mode.ts';
import type { Owner } from './file-owner.ts';
import type { FoundSource } from './find-sources.ts';
import { followPath } from './follow-path.ts';
import { keptXattrs, setOpenXattrs, setXattrs } from './kept-xattrs.ts';
import { type LayerDraft, secondsOf, setPathTime } from './layer-draft.ts';
import { originOf } from './shared-origin.ts';
import { joinPath, parentOf, type TreePath } from './tree-path.ts';
import type { TreeView } from './tree-view.ts';
import { type SelectedEntry, type Selection, type SelectionVisitor, walkSelection } from './walk-selection.ts';

export interface CopyRules extends Selection {
  owner: Owner | undefined;
  mode: ModeChange | undefined;
}

export interface CopyTarget {
  /** Symlinks not followed. */
  path: TreePath;
  isDirectory: boolean;
}

const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/**
 * Copies one source, as BuildKit does: of a directory its content, into the target; a file to the target, or into it where that is a
 * directory. What is there is merged with: a directory never takes the place of something else, nor the other way round.
 */
export function copySource(
  draft: LayerDraft,
  tree: TreeView,
  source: FoundSource,
  target: CopyTarget,
  rules: CopyRules,
) {
  const stats = tree.lstat(source.place);
  if (stats === undefined) throw invalidRequest(`/${source.place} was not found`);
  ensureDirectory(draft, followPath(draft, target.isDirectory ? target.path : parentOf(target.path)), rules);
  let place = followPath(draft, target.path);
  if (!stats.isDirectory() && draft.lstat(place)?.isDirectory() === true) place = joinPath(place, source.name);
  ensureDirectory(draft, stats.isDirectory() ? place : parentOf(place), rules);
  walkSelection(tree, source.place, rules, new Copier(draft, tree, place, rules));
}

/** Makes what is missing of a directory whose path has no symlinks. */
export function ensureDirectory(draft: LayerDraft, path: TreePath, rules: Pick<CopyRules, 'owner' | 'mode'>): void {
  const there = draft.lstat(path);
  if (there?.isDirectory() === true) return;
  if (there !== undefined) throw invalidRequest(`/${path} is there and not a directory`);
  if (path !== '') ensureDirectory(draft, parentOf(path), rules);
  const at = draft.makeDirectory(path, (rules.mode?.absolute ?? 0o755) & 0o777);
  if (rules.owner !== undefined) lchownSync(at, draft.idBase + rules.owner.uid, draft.idBase + rules.owner.gid);
}

class Copier implements SelectionVisitor {
  readonly #draft: LayerDraft;
  readonly #tree: TreeView;
  readonly #target: TreePath;
  readonly #rules: CopyRules;
  /** The first copy of each file that has several names. */
  readonly #links = new Map<string, TreePath>();

  constructor(draft: LayerDraft, tree: TreeView, target: TreePath, rules: CopyRules) {
    this.#draft = draft;
    this.#tree = tree;
    this.#target = target;
    this.#rules = rules;
  }

  enter({ below, stats }: SelectedEntry): void {
    if (below !== '') this.#makeDirectory(this.#placeOf(below), stats);
  }

  leave({ place, below, stats }: SelectedEntry): void {
    const target = this.#placeOf(below);
    // The target itself was there, or was made as parents are: only its time is the source's.
    if (below !== '') this.#dress(this.#draft.own(target), stats, this.#tree.locate(place));
    else setPathTime(this.#draft.own(target), stats.mtimeNs);
  }

  pass({ place, below, stats }: SelectedEntry): void {
    const target = this.#placeOf(below);
    if (this.#makeDirectory(target, stats)) this.#dress(this.#draft.own(target), stats, this.#tree.locate(place));
    else chmodSync(this.#draft.own(target), modeOf(stats));
  }

  other({ place, below, stats }: SelectedEntry): void {
    const target = this.#placeOf(below);
    if (this.#draft.lstat(target)?.isDirectory() === true) {
      throw invalidRequest(`/${target} is a directory, and a file cannot take its place`);
    }
    const source = this.#tree.locate(place);
    if (stats.isFile()) this.#copyFile(place, target, stats);
    else if (stats.isSymbolicLink()) {
      const at = this.#draft.makeSymlink(target, this.#tree.readlink(place));
      this.#own(at, stats);
      setPathTime(at, stats.mtimeNs);
    } else if (stats.isFIFO()) this.#dress(this.#draft.makeFifo(target), stats, source);
    else if (stats.isSocket()) closeSync(this.#draft.makeFile(target));
    else throw invalidRequest(`/${place} is a device, which cannot be copied`);
    if (stats.isSocket()) this.#dress(this.#draft.locate(target), stats, source);
  }

  #placeOf(below: TreePath): TreePath {
    return joinPath(this.#target, below);
  }

  /** Whether it was made now. */
  #makeDirectory(target: TreePath, stats: BigIntStats): boolean {
    const there = this.#draft.lstat(target);
    if (there?.isDirectory() === true) return false;
    if (there !== undefined)
      throw invalidRequest(`/${target} is there and not a directory, so none can be copied to it`);
    this.#draft.makeDirectory(target, modeOf(stats));
    return true;
  }

  #copyFile(place: TreePath, target: TreePath, stats: BigIntStats): void {
    const inode = stats.nlink > 1n ? `${stats.dev} ${stats.ino}` : undefined;
    const first = inode === undefined ? undefined : this.#links.get(inode);
    if (first !== undefined && first !== target) {
      this.#draft.makeLink(target, first);
      return;
    }
    if (inode !== undefined) this.#links.set(inode, target);
    const source = this.#tree.locate(place);
    const from = openSync(isWorthSharing(stats.size) ? originOf(this.#tree, place, stats) : source, READ);
    try {
      const to = this.#draft.makeFile(target);
      try {
        this.#draft.count(Number(stats.size));
        copyData(from, to, stats.size, () => this.#draft.check());
        const { uid, gid } = this.#ownerOf(stats);
        fchownSync(to, uid, gid);
        // A change of the owner takes set-uid bits and capabilities away: this order.
        fchmodSync(to, this.#modeFor(stats));
        setOpenXattrs(to, keptXattrs(source));
        setOpenFileTime(to, ...secondsOf(stats.mtimeNs));
      } finally {
        closeSync(to);
      }
    } finally {
      closeSync(from);
    }
  }

  /** All but the data of what is no symlink. */
  #dress(at: string | Buffer, stats: BigIntStats, source: string | Buffer): void {
    this.#own(at, stats);
    chmodSync(at, this.#modeFor(stats));
    setXattrs(at, keptXattrs(source));
    setPathTime(at, stats.mtimeNs);
  }

  #own(at: string | Buffer, stats: BigIntStats): void {
    const { uid, gid } = this.#ownerOf(stats);
    lchownSync(at, uid, gid);
  }

  /** Host ids: source and layer have the same shift. */
  #ownerOf(stats: BigIntStats): Owner {
    const { owner } = this.#rules;
    if (owner === undefined) return { uid: Number(stats.uid), gid: Number(stats.gid) };
    return { uid: this.#draft.idBase + owner.uid, gid: this.#draft.idBase + owner.gid };
  }

  #modeFor(stats: BigIntStats): number {
    const mode = modeOf(stats);
    return this.#rules.mode?.apply(mode, stats.isDirectory()) ?? mode;
  }
}

function modeOf(stats: BigIntStats): number {
  return Number(stats.mode) & 0o7777;
}
