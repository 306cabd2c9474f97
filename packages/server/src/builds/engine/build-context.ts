import { createHash } from 'node:crypto';
import { chmodSync, lchownSync, lstatSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DarkroomError } from '../../platform/errors.ts';
import type { StepRuntime } from '../../runtime/step-types.ts';
import type { ContextTree, ContextTrees } from '../contexts/context-trees.ts';
import type { SourceTree } from '../files/transfer-types.ts';
import type { BuildDefinition } from '../types.ts';
import type { Hold } from './hold.ts';
import type { ScratchSpace } from './scratch-space.ts';

/** The files that COPY, ADD and mounts without `from` read. */
export interface BuildContext {
  source: SourceTree;
  /** What it is merged from, base first. */
  layers: readonly string[];
}

export interface ContextDeps {
  contexts: Pick<ContextTrees, 'acquire'>;
  steps: Pick<StepRuntime, 'openTree'>;
  scratch: ScratchSpace;
  idBase: number;
}

const NAME = 'Dockerfile';
const ATTEMPTS = 5;

/**
 * The uploaded files, and the text that is built as `Dockerfile` at their root, where clients expect it. It is laid over them as a layer, since the
 * tree itself is shared with builds of other texts. Released with the hold.
 */
export async function openBuildContext(
  deps: ContextDeps,
  definition: Pick<BuildDefinition, 'organizationId' | 'contexts' | 'dockerfile'>,
  hold: Hold,
  signal: AbortSignal,
): Promise<BuildContext> {
  const { organizationId, contexts, dockerfile } = definition;
  const tree = await acquire(deps.contexts, organizationId, contexts, signal);
  hold.add(() => tree.release());
  const scratch = await deps.scratch.make();
  hold.add(() => deps.scratch.remove(scratch));
  const over = join(scratch, 'dockerfile');
  writeOver(over, tree.directory, dockerfile, deps.idBase);
  const merged = await deps.steps.openTree([tree.directory, over]);
  hold.add(() => merged.close());
  const sha256 = createHash('sha256').update(dockerfile).digest('hex');
  const { identity, ...source } = tree.source;
  return {
    source: {
      ...source,
      directory: merged.directory,
      layers: [over, tree.directory],
      digests: [[NAME, sha256]],
      identity: identity && `${identity} ${NAME} ${sha256}`,
    },
    layers: [tree.directory, over],
  };
}

/** Other clients may upload the same files again at any time, and then they are read once more. */
async function acquire(
  trees: ContextDeps['contexts'],
  ...request: Parameters<ContextTrees['acquire']>
): Promise<ContextTree> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await trees.acquire(...request);
    } catch (error) {
      const isMoved = error instanceof DarkroomError && error.code === 'conflict';
      if (!isMoved || attempt === ATTEMPTS) throw error;
    }
  }
}

/** Its root shows, and so looks as that of the tree does. */
function writeOver(directory: string, tree: string, dockerfile: string, idBase: number): void {
  mkdirSync(directory);
  const file = join(directory, NAME);
  writeFileSync(file, dockerfile, { mode: 0o644 });
  chmodSync(file, 0o644);
  lchownSync(file, idBase, idBase);
  const { uid, gid, mode, atime, mtime } = lstatSync(tree);
  lchownSync(directory, uid, gid);
  chmodSync(directory, mode & 0o7777);
  utimesSync(directory, atime, mtime);
}
