import { createHash, type Hash } from 'node:crypto';
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import { DarkroomError } from '../../platform/errors.ts';
import { ignoringTree } from './filtered-tree.ts';
import { type FoundSource, findSources } from './find-sources.ts';
import { keptXattrs } from './kept-xattrs.ts';
import { parentsSource } from './parents-source.ts';
import { refuseRemote } from './remote-source.ts';
import type { DigestRequest } from './transfer-types.ts';
import type { TreePath } from './tree-path.ts';
import { openTree, type TreeView } from './tree-view.ts';
import { type SelectedEntry, walkSelection } from './walk-selection.ts';

const READ = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const chunk = Buffer.allocUnsafe(1024 * 1024);

/**
 * A digest of all that the instruction reads: names, types, modes, owners, targets of links, attributes and bytes, but no times. What the
 * instruction itself says (target, owner, mode) is not in it. Raises what carrying it out would raise for a source that is not there.
 */
export function digestSources(request: DigestRequest, check: () => void): string {
  const digester = new Digester(request, check);
  return digester.run();
}

class Digester {
  readonly #request: DigestRequest;
  readonly #check: () => void;
  readonly #tree: TreeView;
  readonly #known: ReadonlyMap<TreePath, string>;
  readonly #hash: Hash = createHash('sha256');
  readonly #inodes = new Map<string, TreePath>();
  #bytes = 0n;

  constructor(request: DigestRequest, check: () => void) {
    const { source } = request;
    this.#request = request;
    this.#check = check;
    this.#tree = ignoringTree(openTree(source.directory), source.ignore);
    const inFile = source.digestFile === undefined ? [] : readDigestFile(source.digestFile);
    this.#known = new Map([...inFile, ...(source.digests ?? [])]);
  }

  run(): string {
    const { instruction, fetched, source } = this.#request;
    const { exclude, parents, kind, heredocs, sources } = instruction;
    for (const [index, text] of sources.entries()) {
      const file = fetched.get(index);
      if (file !== undefined) {
        if ('identity' in file) this.#say('git', file.identity, exclude);
        else this.#say('fetched', file.name, file.sha256);
        continue;
      }
      refuseRemote(kind, text);
      if (parents) {
        const { base, include } = parentsSource(this.#tree, text, source.what);
        this.#say('parents', include);
        for (const found of base) this.#take(found, include, exclude);
      } else {
        this.#say('source');
        for (const found of findSources(this.#tree, text, source.what)) this.#take(found, undefined, exclude);
      }
    }
    for (const { name, content } of heredocs) this.#say('heredoc', name, content);
    return `sha256:${this.#hash.digest('hex')}`;
  }

  #say(...words: readonly unknown[]): void {
    this.#hash.update(`${JSON.stringify(words)}\n`);
  }

  #take({ name, place }: FoundSource, include: string | undefined, exclude: readonly string[]): void {
    this.#inodes.clear();
    const isDirectory = this.#tree.lstat(place)?.isDirectory() === true;
    // A directory's own name is nowhere in what is copied of it.
    this.#say('found', isDirectory ? '' : name);
    const entry = (kind: string) => (found: SelectedEntry) => this.#entry(kind, found);
    walkSelection(
      this.#tree,
      place,
      { include, exclude },
      { enter: entry('d'), pass: entry('p'), leave: () => {}, other: (found) => this.#other(found) },
    );
  }

  #entry(kind: string, { place, below, stats }: SelectedEntry, content = ''): void {
    this.#check();
    const xattrs = stats.isSymbolicLink() ? [] : keptXattrs(this.#tree.locate(place));
    const attributes = xattrs.map(([name, value]) => [name, value.toString('hex')]);
    this.#say(kind, below, Number(stats.mode), Number(stats.uid), Number(stats.gid), content, attributes);
  }

  #other(found: SelectedEntry): void {
    const { place, below, stats } = found;
    const inode = `${stats.dev} ${stats.ino}`;
    const first = stats.isFile() && stats.nlink > 1n ? this.#inodes.get(inode) : undefined;
    if (stats.isSymbolicLink()) this.#entry('l', found, this.#tree.readlink(place));
    else if (!stats.isFile()) this.#entry('s', found);
    else if (first !== undefined) this.#say('h', below, first);
    else {
      if (stats.nlink > 1n) this.#inodes.set(inode, below);
      this.#count(stats.size);
      this.#entry('f', found, this.#known.get(place) ?? this.#hashFile(place));
    }
  }

  #count(bytes: bigint): void {
    const { maxBytes = Number.POSITIVE_INFINITY } = this.#request;
    this.#bytes += bytes;
    if (this.#bytes <= maxBytes) return;
    throw new DarkroomError('quota_exceeded', `the files have more than ${maxBytes} bytes`);
  }

  #hashFile(place: TreePath): string {
    const hash = createHash('sha256');
    const fd = openSync(this.#tree.locate(place), READ);
    try {
      for (;;) {
        const count = readSync(fd, chunk, 0, chunk.length, null);
        if (count === 0) return hash.digest('hex');
        hash.update(chunk.subarray(0, count));
        this.#check();
      }
    } finally {
      closeSync(fd);
    }
  }
}

export function digestFileText(digests: ReadonlyMap<TreePath, string>): string {
  return JSON.stringify([...digests]);
}

function readDigestFile(path: string): ReadonlyMap<TreePath, string> {
  const pairs: unknown = JSON.parse(readFileSync(path, 'utf8'));
  const digests = new Map<TreePath, string>();
  if (!Array.isArray(pairs)) return digests;
  for (const pair of pairs) {
    if (!Array.isArray(pair)) continue;
    const [place, sha256]: unknown[] = pair;
    if (typeof place === 'string' && typeof sha256 === 'string') digests.set(place, sha256);
  }
  return digests;
}
