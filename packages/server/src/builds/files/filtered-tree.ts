import { type IgnoreRules, readIgnoreFile } from '../dockerfile/ignore-file.ts';
import { joinPath, type TreePath } from './tree-path.ts';
import type { TreeView } from './tree-view.ts';

/** The tree without what the rules leave out. A directory that is left out stays where something in it is taken back in. */
export function filteredTree(tree: TreeView, rules: IgnoreRules): TreeView {
  const shown = new Map<TreePath, boolean>();

  function isShown(path: TreePath): boolean {
    if (path === '') return true;
    const known = shown.get(path);
    if (known !== undefined) return known;
    const result = !rules.ignores(path) || (rules.hasExceptions && holdsSomething(path));
    shown.set(path, result);
    return result;
  }

  function holdsSomething(path: TreePath): boolean {
    if (tree.lstat(path)?.isDirectory() !== true) return false;
    return tree.names(path).some((name) => isShown(joinPath(path, name)));
  }

  return {
    ...tree,
    lstat: (path) => (isShown(path) ? tree.lstat(path) : undefined),
    names: (path) => (isShown(path) ? tree.names(path).filter((name) => isShown(joinPath(path, name))) : []),
    leavesOut: (path) => !isShown(path) && tree.lstat(path) !== undefined,
  };
}

/** By the first of these that is there. */
export const IGNORE_FILES = ['Dockerfile.dockerignore', '.dockerignore'] as const;

export function ignoringTree(tree: TreeView, ignoreText: string | undefined): TreeView {
  if (ignoreText === undefined) return tree;
  return filteredTree(tree, readIgnoreFile(ignoreText));
}
