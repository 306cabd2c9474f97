import { resolveOwner } from '../files/file-owner.ts';
import { openTree } from '../files/tree-view.ts';
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
          const owner = user === '' || tree === undefined ? undefined : await resolveOwner(user, tree);
          makeDirectories(upper, { merged, path: workingDir, owner, idBase: settings.idBase });
          return isEmptyDirectory(upper) ? undefined : { sizeBytes: await measureTree(upper) };
        }),
      );
      return { layer };
    },
  };
}
