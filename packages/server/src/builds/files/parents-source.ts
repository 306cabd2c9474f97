import { invalidRequest } from '../../platform/errors.ts';
import { type FoundSource, findSources, isPattern } from './find-sources.ts';
import { followPath } from './follow-path.ts';
import { nearNames } from './near-names.ts';
import { cleanPath, joinPath } from './tree-path.ts';
import type { TreeView } from './tree-view.ts';

/** Where the names that `--parents` keeps begin. */
const PIVOT = '/./';

/** A source of `COPY --parents`: what is copied is what matches `include` below each of `base`, with the directories above it. */
export function parentsSource(tree: TreeView, text: string, what: string): { base: FoundSource[]; include: string } {
  const pivot = text.indexOf(PIVOT);
  const start = pivot === -1 ? '' : text.slice(0, pivot);
  const include = cleanPath(pivot === -1 ? text : text.slice(pivot + PIVOT.length));
  const base = findSources(tree, start, what);
  if (!include.split('/').some(isPattern)) {
    for (const { place } of base) requireBelow(tree, place, include, what);
  }
  return { base, include };
}

function requireBelow(tree: TreeView, place: string, include: string, what: string): void {
  const wanted = joinPath(place, include);
  if (tree.lstat(followPath(tree, wanted)) !== undefined) return;
  const near = nearNames(tree, wanted);
  throw invalidRequest(`/${wanted} was not found in ${what}`, {
    ...(near.length === 0 ? {} : { hint: `Near it there are ${near.join(', ')}.` }),
    details: { path: `/${wanted}`, near },
  });
}
