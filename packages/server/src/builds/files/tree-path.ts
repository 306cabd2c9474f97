/**
 * A place in a tree: names joined by slashes, without one in front; the tree's root is the empty string. Names are strings as
 * `nameOfBytes` writes them, so that any bytes survive. No part is empty, `.` or `..`.
 */
export type TreePath = string;

export function parentOf(path: TreePath): TreePath {
  const slash = path.lastIndexOf('/');
  return slash === -1 ? '' : path.slice(0, slash);
}

export function baseOf(path: TreePath): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

export function joinPath(directory: TreePath, below: TreePath): TreePath {
  if (directory === '') return below;
  return below === '' ? directory : `${directory}/${below}`;
}

/** Any text as a place below the root: `..` goes up as far as the root, and no symlink is looked at. */
export function cleanPath(text: string): TreePath {
  const parts: string[] = [];
  for (const part of text.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}

/** As an instruction means it: `text` relative to the working directory, or to the root. */
export function placeIn(workingDirectory: string, text: string): TreePath {
  return cleanPath(text.startsWith('/') ? text : `${workingDirectory}/${text}`);
}

/** Whether the text of a target says that it is a directory; `.` alone does not, it is what the working directory is. */
export function namesDirectory(text: string): boolean {
  return /\/\.?$/.test(text);
}
