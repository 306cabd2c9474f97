import { invalidRequest } from '../../platform/errors.ts';
import { cleanPath, joinPath, type TreePath } from './tree-path.ts';
import type { TreeView } from './tree-view.ts';

/** As many as the kernel follows in one path, and some more. */
const MAX_LINKS = 255;
/** The kernel takes no longer path. */
const MAX_BYTES = 4095;
/** Of the path and of the links in it together: each name is looked at, and a hostile image can have links that go up and down for ever. */
const MAX_NAMES = 5000;

/**
 * Where a path leads in the tree when every symlink is followed, inside it: an absolute target begins at its root, and `..` ends there.
 * What does not exist is taken as it is written.
 */
export function followPath(view: Pick<TreeView, 'lstat' | 'readlink'>, path: string): TreePath {
  if (Buffer.byteLength(path) > MAX_BYTES)
    throw invalidRequest(`/${cleanPath(path).slice(0, 200)}…: the path is too long`);
  let links = 0;
  let names = 0;
  let done: TreePath = '';
  // From the end.
  const left = path.split('/').reverse();
  for (let name = left.pop(); name !== undefined; name = left.pop()) {
    names += 1;
    if (names > MAX_NAMES) throw tooManyLinks(path);
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
    if (links > MAX_LINKS) throw tooManyLinks(path);
    const target = view.readlink(here);
    if (target.startsWith('/')) done = '';
    left.push(...target.split('/').reverse());
  }
  return done;
}

const tooManyLinks = (path: string) => invalidRequest(`/${cleanPath(path).slice(0, 200)}: too many symbolic links`);
