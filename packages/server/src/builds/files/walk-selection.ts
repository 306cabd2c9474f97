import type { BigIntStats } from 'node:fs';
import { DarkroomError, invalidRequest } from '../../platform/errors.ts';
import { type IgnoreRules, ignoreRules } from '../dockerfile/ignore-file.ts';
import { isPattern } from './find-sources.ts';
import { joinPath, type TreePath } from './tree-path.ts';
import type { TreeView } from './tree-view.ts';

/** One thing that a source takes. */
export interface SelectedEntry {
  /** In the source's tree. */
  place: TreePath;
  /** From the source itself, which is the empty string. */
  below: TreePath;
  stats: BigIntStats;
}

export interface SelectionVisitor {
  enter(directory: SelectedEntry): void;
  /** After all that is in it. */
  leave(directory: SelectedEntry): void;
  /** A directory that is not taken itself, but something in it is; before that. */
  pass(directory: SelectedEntry): void;
  other(entry: SelectedEntry): void;
}

export interface Selection {
  /** Takes only what matches, and all that is in it. */
  include: string | undefined;
  exclude: readonly string[];
}

const MAX_DEPTH = 1000;

/** Goes through what is taken of a source, directories before what is in them, names in order. Patterns do not speak of the source itself. */
export function walkSelection(tree: TreeView, place: TreePath, selection: Selection, visitor: SelectionVisitor): void {
  new Walk(tree, selection, visitor).visit(place, '', 0);
}

class Walk {
  readonly #tree: TreeView;
  readonly #visitor: SelectionVisitor;
  readonly #include: IgnoreRules | undefined;
  readonly #literal: readonly string[];
  readonly #exclude: IgnoreRules;
  /** Directories that nothing has been taken from yet. */
  readonly #pending: SelectedEntry[] = [];

  constructor(tree: TreeView, { include, exclude }: Selection, visitor: SelectionVisitor) {
    this.#tree = tree;
    this.#visitor = visitor;
    this.#include = include === undefined ? undefined : ignoreRules([include]);
    this.#literal = include === undefined ? [] : literalStart(include);
    this.#exclude = ignoreRules(exclude);
  }

  visit(place: TreePath, below: TreePath, depth: number): void {
    if (depth > MAX_DEPTH) throw invalidRequest(`/${place.slice(0, 200)}… is more than ${MAX_DEPTH} directories deep`);
    const isExcluded = below !== '' && this.#exclude.ignores(below);
    const isTaken = below === '' || (!isExcluded && this.#include?.ignores(below) !== false);
    if (isExcluded && !this.#exclude.hasExceptions) return;
    const stats = this.#tree.lstat(place);
    if (stats === undefined) throw new DarkroomError('internal', `/${place} vanished while it was copied`);
    const entry: SelectedEntry = { place, below, stats };
    if (stats.isDirectory()) this.#directory(entry, isTaken, depth);
    else if (isTaken) {
      this.#passPending();
      this.#visitor.other(entry);
    }
  }

  #directory(entry: SelectedEntry, isTaken: boolean, depth: number): void {
    if (isTaken) {
      this.#passPending();
      this.#visitor.enter(entry);
    } else if (this.#mayHold(entry.below)) this.#pending.push(entry);
    else return;
    for (const name of this.#tree.names(entry.place)) {
      this.visit(joinPath(entry.place, name), joinPath(entry.below, name), depth + 1);
    }
    if (isTaken) this.#visitor.leave(entry);
    else if (this.#pending.at(-1) === entry) this.#pending.pop();
  }

  #passPending(): void {
    for (const entry of this.#pending.splice(0)) this.#visitor.pass(entry);
  }

  /** Large trees are not searched where the pattern cannot lead. */
  #mayHold(below: TreePath): boolean {
    return below.split('/').every((name, index) => (this.#literal[index] ?? name) === name);
  }
}

function literalStart(pattern: string): string[] {
  const parts = pattern.split('/');
  const wild = parts.findIndex((part) => isPattern(part) || part.includes('\\'));
  return wild === -1 ? parts : parts.slice(0, wild);
}
