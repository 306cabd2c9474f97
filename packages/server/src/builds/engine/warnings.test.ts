import { expect, test } from 'vitest';
import { parseDockerfile } from '../dockerfile/parse.ts';
import { planBuild } from '../dockerfile/plan.ts';
import { numberSteps } from './number-steps.ts';
import { warningsOf } from './warnings.ts';

const platform = { os: 'linux', architecture: 'amd64' } as const;

function warnings(lines: readonly string[], given: Readonly<Record<string, string>> = {}): string[] {
  const dockerfile = parseDockerfile(lines.join('\n'));
  const buildArgs = new Map(Object.entries(given));
  return warningsOf(dockerfile, numberSteps(planBuild(dockerfile, { platform, buildArgs })), buildArgs);
}

test.each(["CMD ['python3', 'main.py']", 'ENTRYPOINT [python3]', 'CMD [ “python3” ]', "RUN ['a']", "COPY ['a', '/b']"])(
  '%s looks like a list and is none',
  (line) => {
    expect(warnings(['FROM base', line])).toEqual([expect.stringMatching(/^Warning: line 2 is no JSON list/)]);
  },
);

test.each([
  'CMD ["python3"]',
  'CMD [ -f x ] && echo y',
  'RUN [ "$A" = b ] || true',
  'RUN [[ -f x ]]',
  'CMD python3 [a]',
  'COPY ["a", "/b"]',
  'COPY [ab]*.txt /b/',
])('%s is meant', (line) => {
  expect(warnings(['FROM base', line])).toEqual([]);
});

test('build arguments that no ARG takes are named, without their values', () => {
  const text = ['ARG TAG', 'FROM base AS unused', 'ARG SIDE', 'FROM base', 'ARG MODE=x'];
  const given = { TAG: '1', SIDE: '1', MODE: '1', HTTPS_PROXY: '1', BUILDKIT_INLINE_CACHE: '1', MOED: 'value', B: '1' };
  expect(warnings(text, given)).toEqual([
    'Warning: no ARG in the Dockerfile takes "MOED", "B" of the build arguments.',
  ]);
  expect(warnings([...text, 'ARG $MODE'], given)).toEqual([]);
});
