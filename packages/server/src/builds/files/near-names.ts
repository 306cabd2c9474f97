import { nearestName } from '../../platform/config-settings.ts';
import { baseOf, joinPath, parentOf, type TreePath } from './tree-path.ts';
import type { TreeView } from './tree-view.ts';

const MAX_SHOWN = 5;
/** Directories that are looked through for the same name elsewhere. */
const MAX_DIRECTORIES = 500;

/** What was probably meant by a path that is not there: a similar name beside it, or the same name elsewhere. */
export function nearNames(tree: TreeView, path: TreePath): string[] {
  const near = new Set<TreePath>();
  const beside = nearestName(baseOf(path), tree.names(parentOf(path)));
  if (beside !== undefined) near.add(joinPath(parentOf(path), beside));
  const queue: TreePath[] = [''];
  for (let looked = 0; looked < MAX_DIRECTORIES && near.size < MAX_SHOWN; looked += 1) {
    const directory = queue.shift();
    if (directory === undefined) break;
    for (const name of tree.names(directory)) {
      const place = joinPath(directory, name);
      if (name.toLowerCase() === baseOf(path).toLowerCase()) near.add(place);
      else if (queue.length < MAX_DIRECTORIES && tree.lstat(place)?.isDirectory() === true) queue.push(place);
    }
  }
  return [...near].slice(0, MAX_SHOWN).map((place) => `/${place}`);
}
