import type { BigIntStats } from 'node:fs';
import type { TreePath } from './tree-path.ts';
import { type TreeView, treeAt } from './tree-view.ts';

/**
 * The same tree, of an overlay, that also knows in which layer the bytes of a file are: blocks can be shared with that file, while one of an
 * overlay counts as lying on another file system. `layers` are the directories that it is mounted from, the topmost first.
 */
export function withOrigins(tree: TreeView, layers: readonly string[]): TreeView {
  const views = layers.map(treeAt);
  return {
    ...tree,
    origin(path, stats) {
      // What a layer has at the place of something that shows is what shows, as whatever hides it would be in a layer above.
      for (const view of views) {
        const found = view.lstat(path);
        if (found !== undefined) return isSame(found, stats) ? view.locate(path) : undefined;
      }
      return undefined;
    },
  };
}

export function originOf(tree: TreeView, path: TreePath, stats: BigIntStats): string | Buffer {
  return tree.origin?.(path, stats) ?? tree.locate(path);
}

/** Where all layers are on one file system, an overlay shows the numbers of their inodes. */
function isSame(a: BigIntStats, b: BigIntStats): boolean {
  return a.isFile() && a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}
