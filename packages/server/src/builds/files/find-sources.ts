import { invalidRequest } from '../../platform/errors.ts';
import { type PathMatcher, pathMatcher } from '../dockerfile/path-patterns.ts';
import { followPath } from './follow-path.ts';
import { nearNames } from './near-names.ts';
import { baseOf, cleanPath, joinPath, type TreePath } from './tree-path.ts';
import type { TreeView } from './tree-view.ts';

/** Something that a source names. */
export interface FoundSource {
  /** The last part of how it was found: a symlink's own name, not that of its target. */
  name: string;
  /** Where it is, with all symlinks followed. */
  place: TreePath;
}

/**
 * What `text` means in the tree. A pattern that matches nothing is no error, as with BuildKit; a plain name that is not there is. `what`
 * says in an error where was looked.
 */
export function findSources(tree: TreeView, text: string, what: string): FoundSource[] {
  const parts = cleanPath(text).split('/');
  const wild = parts.findIndex(isPattern);
  if (wild === -1) return [plainSource(tree, text, parts.join('/'), what)];
  const base = followPath(tree, parts.slice(0, wild).join('/'));
  return matchesBelow(tree, base, parts.slice(wild)).map((path) => ({
    name: baseOf(path),
    place: followPath(tree, path),
  }));
}

/** Unlike elsewhere a backslash alone does not make a pattern of a name. */
export function isPattern(name: string): boolean {
  return /[*?[]/.test(name.replace(/\\./gsu, ''));
}

function plainSource(tree: TreeView, text: string, path: TreePath, what: string): FoundSource {
  const place = followPath(tree, path);
  if (tree.lstat(place) !== undefined) return { name: baseOf(path), place };
  const leads = place === path ? '' : ` (it leads to /${place})`;
  const near = nearNames(tree, place);
  if (tree.leavesOut?.(place) === true) {
    throw invalidRequest(`/${path}${leads} was left out of ${what} by its .dockerignore`, {
      hint: `Take it back in with a last line !${place}, or take the line out that names it.`,
      details: { path: `/${path}`, near: [] },
    });
  }
  throw invalidRequest(`/${path}${leads} was not found in ${what}`, {
    hint: near.length === 0 ? hintFor(tree, text, what) : `Near it there are ${near.join(', ')}.`,
    details: { path: `/${path}`, near },
  });
}

function hintFor(tree: TreeView, text: string, what: string): string {
  if (/(?:^|\/)\.\.(?:\/|$)/.test(text)) return `Names go no higher than the root of ${what}, also with «..».`;
  const names = tree.names('');
  if (names.length === 0) return `There is nothing in ${what}.`;
  if (names.length === 1 && names[0] === 'Dockerfile')
    return `Nothing but the Dockerfile is in ${what}: clients send the files that a COPY names and that they find.`;
  return `Names are counted from the root of ${what}.`;
}

function matchesBelow(tree: TreeView, base: TreePath, patterns: readonly string[]): TreePath[] {
  const [pattern, ...deeper] = patterns;
  if (pattern === undefined) return [base];
  if (tree.lstat(base)?.isDirectory() !== true) return [];
  const matches: PathMatcher = pathMatcher(pattern);
  return tree
    .names(base)
    .filter(matches)
    .flatMap((name) => matchesBelow(tree, joinPath(base, name), deeper));
}
