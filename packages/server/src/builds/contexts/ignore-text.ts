import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { invalidRequest } from '../../platform/errors.ts';
import { IGNORE_FILES } from '../files/filtered-tree.ts';
import { treeAt } from '../files/tree-view.ts';

const MAX_BYTES = 1024 * 1024;

/** The text of the ignore file that holds for a context: the Dockerfile's own before that of the directory. */
export async function ignoreTextIn(root: string): Promise<string | undefined> {
  const tree = treeAt(root);
  const name = IGNORE_FILES.find((candidate) => tree.lstat(candidate)?.isFile() === true);
  if (name === undefined) return undefined;
  const handle = await open(tree.locate(name), constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const { size } = await handle.stat();
    if (size > MAX_BYTES) throw invalidRequest(`${name} is larger than ${MAX_BYTES} bytes`);
    return await handle.readFile('utf8');
  } finally {
    await handle.close();
  }
}
