import { invalidRequest } from '../../platform/errors.ts';
import { cleanPath, joinPath, type TreePath } from './tree-path.ts';
import type { TreeView } from './tree-view.ts';

/** As many as the kernel follows in one path, and some more. */
const MAX_LINKS = 255;

/**
 * Where a path leads in the tree when every symlink is followed, inside it: an absolute target begins at its root, and `..` ends there.
 * What does not exist is taken as it is written.
 */
export function followPath(view: Pick<TreeView, 'lstat' | 'readlink'>, path: string): TreePath {
  let links = 0;
  let done: TreePath = '';
  let left = path.split('/');
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    if (name === '' || name === '.') continue;
    if (name === '..') {
      done = cleanPath(`${done}/..`);
      continue;
    }
    const here = joinPath(done, name);
    if (view.lstat(here)?.isSymbolicLink() !== true) {
      done = here;
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) throw invalidRequest(`/${cleanPath(path)}: too many symbolic links`);
    const target = view.readlink(here);
    if (target.startsWith('/')) done = '';
    left = [...target.split('/'), ...left];
  }
  return done;
}
