import { DarkroomError } from '../../platform/errors.ts';
import { type Owner, resolveOwner } from '../files/file-owner.ts';
import { openTree, type TreeView } from '../files/tree-view.ts';
import { chainOf, digestOf } from './key-parts.ts';
import { makeDirectories, withMerged } from './make-directories.ts';
import { isEmptyDirectory, measureTree } from './measure-tree.ts';
import type { PreparedStep, StepPlace } from './step-types.ts';

/** WORKDIR, whose state is applied: the directory with its parents, of the image's user, where it is not there. */
export function prepareWorkdir({ tools, state, below }: StepPlace): PreparedStep {
  const { steps, layers, settings } = tools;
  const { workingDir, user } = state.config;
  return {
    parts: {
      kind: 'WORKDIR',
      'the base image or an earlier step': chainOf(below),
      'the working directory': digestOf(workingDir),
      'the user': digestOf(user),
    },
    command: undefined,
    async execute() {
      const layer = await layers.make((upper) =>
        withMerged(steps, below, async (merged) => {
          const tree = merged === undefined ? undefined : openTree(merged);
          const owner = tree === undefined ? undefined : await ownerOf(user, tree, settings.idCount);
          makeDirectories(upper, { merged, path: workingDir, owner, idBase: settings.idBase });
          return isEmptyDirectory(upper) ? undefined : { sizeBytes: await measureTree(upper) };
        }),
      );
      return { layer };
    },
  };
}

/** As in BuildKit, a user whom the image does not know is no matter before a RUN needs him. */
async function ownerOf(user: string, tree: TreeView, idCount: number): Promise<Owner | undefined> {
  if (user === '') return undefined;
  try {
    return await resolveOwner(user, tree, idCount);
  } catch (error) {
    if (error instanceof DarkroomError && error.code === 'invalid_request') return undefined;
    throw error;
  }
}
