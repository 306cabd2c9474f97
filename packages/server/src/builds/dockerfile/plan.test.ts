// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are variables of a Dockerfile
import { describe, expect, test } from 'vitest';
import { parseDockerfile } from './parse.ts';
import { type PlanOptions, planBuild } from './plan.ts';
import { readPlatform } from './platform.ts';
import { content, declareArgs, type Scope, setEnv, stepEnvironment, word, words } from './scope.ts';

const platform = { os: 'linux', architecture: 'amd64' } as const;
const plan = (text: string, options: Partial<PlanOptions> = {}) =>
  planBuild(parseDockerfile(text), { platform, buildArgs: new Map(), ...options });
const bases = (text: string, options: Partial<PlanOptions> = {}) => plan(text, options).stages.map(({ base }) => base);

describe('the plan of a build', () => {
  test('has only the stages that the target needs, each after those it needs', () => {
    const text = [
      'FROM a AS one',
      'FROM b AS two',
      'COPY --from=one /x /x',
      'FROM c AS unused',
      'FROM two',
      'RUN --mount=type=bind,from=0,target=/m make',
      'COPY --from=busybox /bin/sh /bin/',
    ].join('\n');
    const { stages, target } = plan(text);
    expect(stages.map(({ stage }) => stage.index)).toEqual([0, 1, 3]);
    expect(target).toMatchObject({ base: { kind: 'stage', index: 1 }, needs: [1, 0], images: ['busybox'] });
    expect(plan(text, { target: 'UNUSED' }).stages.map(({ stage }) => stage.index)).toEqual([2]);
  });

  test('takes images from ARGs before FROM, from what is given, and from the platform', () => {
    const text = 'ARG TAG=3\nARG IMAGE=python:${TAG}\nFROM ${IMAGE:-x}-$TARGETARCH';
    expect(bases(text)).toEqual([{ kind: 'image', reference: 'python:3-amd64' }]);
    expect(bases(text, { buildArgs: new Map([['TAG', '4']]) })).toEqual([
      { kind: 'image', reference: 'python:4-amd64' },
    ]);
    expect(() => plan('ARG X\nFROM $X')).toThrow('Dockerfile line 2: base name ($X) should not be blank');
  });

  test('knows scratch, unless a stage is called so', () => {
    expect(bases('FROM scratch')).toEqual([{ kind: 'scratch' }]);
    expect(bases('FROM x AS scratch\nFROM scratch')).toEqual([
      { kind: 'image', reference: 'x' },
      { kind: 'stage', index: 0 },
    ]);
  });

  test('takes the last stage above of two with one name', () => {
    const { stages } = plan('FROM x AS a\nFROM y AS A\nFROM z\nCOPY --from=a /f /f\nFROM a');
    expect(stages.map(({ base }) => base)).toEqual([
      { kind: 'image', reference: 'y' },
      { kind: 'stage', index: 1 },
    ]);
  });

  test('knows numbers of stages in COPY and mounts, and no base by them', () => {
    expect(bases('FROM x\nFROM 0')).toEqual([{ kind: 'image', reference: '0' }]);
  });

  test('has what triggers of a stage copy from', () => {
    const text =
      'FROM x AS f\nFROM y AS a\nONBUILD COPY --from=f /f /f\nONBUILD RUN --mount=from=z,target=/m \\\n ls\nFROM a';
    expect(plan(text)).toMatchObject({ target: { needs: [1, 0], images: ['z'] } });
    expect(plan(`${text}\nFROM 2`, { target: 'a' }).stages).toHaveLength(1);
  });

  test('does not look at stages that the target does not need', () => {
    const text = 'FROM --platform=linux/s390x x\nCOPY --from=7 /a /b\nFROM y';
    expect(bases(text)).toEqual([{ kind: 'image', reference: 'y' }]);
    expect(() => plan('FROM $NOTHING AS unused\nFROM y')).toThrow('Dockerfile line 1: base name');
  });

  test.each([
    ['FROM --platform=linux/s390x x', 'Dockerfile line 1: the platform linux/s390x cannot be built here'],
    ['FROM x AS a\nCOPY --from=a /x /x', 'Dockerfile line 2: the stage a cannot take files from itself'],
    ['FROM x\nFROM y\nCOPY --from=1 /x /x', 'Dockerfile line 3: there is no stage 1 above this one'],
  ])('%j is refused with its line', (text, message) => expect(() => plan(text)).toThrow(message));

  test('a target that is not there is refused with the names that are', () => {
    expect(() => plan('FROM x AS a', { target: 'b' })).toThrow('The Dockerfile has no stage b');
  });
});

describe('variables', () => {
  const empty: Scope = { escapeChar: '\\', env: new Map(), args: new Map() };
  const given = { buildArgs: new Map([['GIVEN', 'by me']]), global: new Map([['META', 'above']]) };

  test('an ARG has what was given, else its default, else the value of before FROM', () => {
    const args = [
      { name: 'GIVEN', value: 'default' },
      { name: 'OTHER', value: 'x$GIVEN' },
      { name: 'META', value: undefined },
      { name: 'NOTHING', value: undefined },
    ];
    expect(stepEnvironment(declareArgs(empty, [{ line: 1, args }], given))).toEqual({
      GIVEN: 'by me',
      OTHER: 'xby me',
      META: 'above',
    });
  });

  test('ENV hides an ARG of its name', () => {
    const scope = setEnv(declareArgs(empty, [{ line: 1, args: [{ name: 'GIVEN', value: undefined }] }], given), 1, [
      ['GIVEN', 'env'],
    ]);
    expect(word(scope, 1, '$GIVEN')).toBe('env');
    expect(stepEnvironment(scope)).toEqual({ GIVEN: 'env' });
  });

  test('in the content of a heredoc quotes are characters', () => {
    const scope = setEnv(empty, 1, [['A', 'b c']]);
    expect(content(scope, 1, 'it\'s "$A" \\$A\n')).toBe('it\'s "b c" $A\n');
    expect(words(scope, 1, '8000/tcp $A')).toEqual(['8000/tcp', 'b', 'c']);
  });

  test('what is wrong is told with its line', () => {
    expect(() => word(empty, 7, '${A:?is needed}')).toThrow('Dockerfile line 7: A: is needed in "${A:?is needed}"');
  });
});

test.each([
  ['linux/amd64', 'amd64'],
  ['x86_64', 'amd64'],
  ['linux/arm64/v8', 'arm64'],
  ['LINUX/AARCH64', 'arm64'],
  ['windows/amd64', undefined],
  ['linux/arm/v7', undefined],
  ['linux/amd64/v1/x', undefined],
])('the platform %s is %s', (text, architecture) => expect(readPlatform(text)?.architecture).toBe(architecture));

test('what many lines together may take is bounded, so that nobody keeps the server busy with a text', () => {
  const many = (count: number, text: string) => text.repeat(count);
  const plan = (text: string) =>
    planBuild(parseDockerfile(text), { platform, buildArgs: new Map(), target: undefined });
  const value = 'a'.repeat(15_000);
  const tooMuch = /too many and too long variables/;
  expect(() => plan(`ARG b=${value}\nARG ${many(9000, 'c=${b//x*/y} ')}\nFROM scratch`)).toThrow(tooMuch);
  expect(() => plan(`ARG b=${value}\n${many(1900, 'FROM ${b//x*/y}\n')}`)).toThrow(tooMuch);
  const line = `ARG c=${many(20, '$b')}\n`;
  expect(() => plan(`ARG b=${value}\n${many(1900, line)}FROM scratch`)).toThrow(tooMuch);
  const declared = Array.from({ length: 9000 }, (_, index) => `a${index}=1`).join(' ');
  expect(plan(`ARG ${declared}\n${many(1900, 'ARG b=1\n')}FROM scratch`).stages).toHaveLength(1);
});
