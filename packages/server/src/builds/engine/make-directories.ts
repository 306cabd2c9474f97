import type { Layer } from '../../images/types.ts';
import { errnoOf, invalidRequest } from '../../platform/errors.ts';
import type { StepRuntime } from '../../runtime/step-types.ts';
import { ensureDirectory } from '../files/copy-source.ts';
import type { Owner } from '../files/file-owner.ts';
import { followPath } from '../files/follow-path.ts';
import { LayerDraft } from '../files/layer-draft.ts';
import { openTree, type TreeView, treeAt } from '../files/tree-view.ts';
import { layerPaths } from './step-sources.ts';

/** A path of some thousand bytes has no more names. */
const MAX_ENTRIES = 5000;

/** Runs with the merged layers; undefined for none. */
export async function withMerged<T>(
  steps: Pick<StepRuntime, 'openTree'>,
  below: readonly Layer[],
  use: (directory: number | undefined) => Promise<T> | T,
): Promise<T> {
  if (below.length === 0) return await use(undefined);
  const merged = await steps.openTree(layerPaths(below));
  try {
    return await use(merged.directory);
  } finally {
    merged.close();
  }
}

/** Makes an empty layer directory look as the root of what it will lie on. */
export function dressRoot(upper: string, below: readonly Layer[], idBase: number): void {
  const top = below.at(-1);
  // The topmost layer's is the one that shows.
  draftOf(upper, top === undefined ? undefined : treeAt(top.path), idBase);
}

/** Makes a directory with its parents in a layer, where the merged layers below have none. Raises `invalid_request` for a file in the way. */
export function makeDirectories(
  upper: string,
  {
    merged,
    path,
    owner,
    idBase,
  }: { merged: number | undefined; path: string; owner: Owner | undefined; idBase: number },
): void {
  const draft = draftOf(upper, merged === undefined ? undefined : openTree(merged), idBase);
  try {
    ensureDirectory(draft, followPath(draft, path), { owner, mode: undefined });
  } catch (error) {
    if (errnoOf(error) !== 'ENAMETOOLONG') throw error;
    throw invalidRequest(`${path.slice(0, 200)}: a name or the path is too long`, { cause: error });
  }
}

function draftOf(upper: string, parent: TreeView | undefined, idBase: number): LayerDraft {
  const limits = { maxBytes: Number.POSITIVE_INFINITY, maxEntries: MAX_ENTRIES, check: () => {} };
  return new LayerDraft({ upper, parent, idBase, ...limits });
}
