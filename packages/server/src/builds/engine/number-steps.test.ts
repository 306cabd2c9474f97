import { expect, test } from 'vitest';
import { parseDockerfile } from '../dockerfile/parse.ts';
import { planBuild } from '../dockerfile/plan.ts';
import { allSteps, numberSteps } from './number-steps.ts';

const platform = { os: 'linux', architecture: 'amd64' } as const;

test('steps are counted through in the order of the Dockerfile, without what the target does not need', () => {
  const text = [
    'ARG TAG=1',
    'FROM a:$TAG AS first',
    'RUN one',
    'FROM b AS unused',
    'RUN two',
    'FROM c',
    '# a comment',
    'COPY --from=first /x \\',
    '  /y',
    'CMD ["z"]',
  ].join('\n');
  const plan = planBuild(parseDockerfile(text), { platform, buildArgs: new Map() });
  expect(allSteps(numberSteps(plan))).toEqual([
    { number: 1, stage: 'first', line: 2, text: 'FROM a:$TAG AS first' },
    { number: 2, stage: 'first', line: 3, text: 'RUN one' },
    { number: 3, stage: '2', line: 6, text: 'FROM c' },
    { number: 4, stage: '2', line: 8, text: 'COPY --from=first /x   /y' },
    { number: 5, stage: '2', line: 10, text: 'CMD ["z"]' },
  ]);
});
