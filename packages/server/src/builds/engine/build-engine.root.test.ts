import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BuildLab, createBuildLab } from './testing/build-lab.ts';

let lab: BuildLab;
beforeAll(async () => {
  lab = await createBuildLab();
}, 60_000);
afterAll(() => lab.close());

const lines = (...text: string[]) => text.join('\n');

test('a Dockerfile becomes an image', async () => {
  const { image, events, read } = await lab.build(
    lines(
      'ARG WORD=hello',
      'FROM base',
      'ARG WORD',
      'ENV GREETING="$WORD world"',
      'WORKDIR /app/src',
      'COPY . .',
      'RUN echo "$GREETING" > said && cat file',
      'RUN true',
      'USER app',
      'EXPOSE 80',
      'CMD ["cat", "said"]',
    ),
    { context: { file: 'of the context\n', 'dir/': '' }, buildArgs: { WORD: 'good' } },
  );
  expect(await read('cat app/src/said app/src/Dockerfile')).toContain('good world\nARG WORD=hello\nFROM base');
  expect(events.output('RUN echo')).toBe('of the context\n');
  expect(image.config).toMatchObject({
    env: ['PATH=/bin:/usr/bin', 'GREETING=good world'],
    workingDir: '/app/src',
    user: 'app',
    exposedPorts: ['80/tcp'],
    cmd: ['cat', 'said'],
  });
  // RUN true changes nothing, and makes no layer.
  expect(image.layers).toHaveLength(4);
  expect(events.steps.map(({ number, state }) => [number, state])).toEqual(
    Array.from({ length: 10 }, (_, index) => [index + 1, 'finished']),
  );
  expect(await lab.leftovers()).toEqual([]);
  expect(lab.warnings).toEqual([]);
});

test('shell, health, triggers and what a base says of them are handed on', async () => {
  const text = lines(
    'FROM base AS one',
    'SHELL ["/bin/sh", "-ec"]',
    'HEALTHCHECK --retries=3 CMD true',
    'ONBUILD RUN echo triggered > /triggered',
    'LABEL a=b',
  );
  const { image } = await lab.build(text);
  expect(image.config).toMatchObject({
    shell: ['/bin/sh', '-ec'],
    onBuild: ['RUN echo triggered > /triggered'],
    healthcheck: { test: ['CMD-SHELL', 'true'], retries: 3 },
    labels: { a: 'b' },
  });
  const next = await lab.build(`${text}\nFROM one\nRUN false; cat /triggered`).catch((error: unknown) => error);
  // With -e the first command that fails ends the script.
  expect(next).toMatchObject({ step: { text: 'RUN false; cat /triggered', exitCode: 1 } });
  const { image: child, events } = await lab.build(`${text}\nFROM one\nRUN cat /triggered`);
  expect(events.output('RUN cat')).toBe('triggered\n');
  expect(events.find('FROM one').notes).toContain('ONBUILD RUN echo triggered > /triggered');
  expect(child.config.onBuild).toBeUndefined();
  expect(child.config.healthcheck).toMatchObject({ retries: 3 });
});

test('triggers of an image run right behind FROM, and their failures name them', async () => {
  await lab.addImage('with-triggers', async () => {}, { onBuild: ['COPY file /copied', 'RUN ["/nothing"]'] });
  const { failure, events } = await lab.fail('FROM with-triggers\nRUN x', { context: { file: 'x' } });
  expect(failure).toMatchObject({ class: 'user', step: { number: 1, line: 1, command: '/nothing', exitCode: 127 } });
  expect(failure.step?.text).toBe('ONBUILD RUN ["/nothing"]');
  expect(events.find('RUN x').state).toBe('planned');
});

describe('stages', () => {
  test('only those that the target needs are built, and ARGs go on into stages made of them', async () => {
    const text = lines(
      'FROM base AS builder',
      'ARG WHAT=built',
      'RUN mkdir /out && echo $WHAT > /out/file && ln -s file /out/link',
      'FROM base AS unused',
      'RUN exit 1',
      'FROM builder AS more',
      'RUN echo "more $WHAT" > /out/more',
      'FROM scratch',
      'COPY --from=builder /out /a',
      'COPY --from=2 /out/more /b/',
    );
    const { image, events, read } = await lab.build(text);
    expect(await read('cat a/link b/more; ls')).toBe('built\nmore built\na\nb\n');
    expect(events.steps.map(({ stage }) => stage)).not.toContain('unused');
    expect(image.config.cmd).toEqual([]);
    expect(image.layers).toHaveLength(2);
  });

  test('those that do not need each other run at the same time', async () => {
    // Each waits for what only the other can make, in a cache that both see.
    const meet = (own: string, other: string) =>
      `RUN --mount=type=cache,id=meet,target=/m touch /m/${own} && while ! [ -e /m/${other} ]; do sleep 0.02; done`;
    await lab.build(
      lines(
        'FROM base AS a',
        meet('a', 'b'),
        'FROM base AS b',
        meet('b', 'a'),
        'FROM base',
        'COPY --from=a /etc/passwd /a',
        'COPY --from=b /etc/passwd /b',
      ),
      { limits: { stepSeconds: 20 } },
    );
  });

  test('one that fails ends the others, and the build settles when nothing runs any more', async () => {
    const { failure, events } = await lab.fail(
      lines(
        'FROM base AS slow',
        'RUN --mount=type=cache,id=ready,target=/m touch /m/ready && sleep 300',
        'FROM base AS failing',
        'RUN --mount=type=cache,id=ready,target=/m while ! [ -e /m/ready ]; do sleep 0.02; done; exit 3',
        'FROM base',
        'COPY --from=slow /x /x',
        'COPY --from=failing /x /x',
      ),
    );
    expect(failure).toMatchObject({ class: 'user', retryable: false, step: { number: 4, line: 4, exitCode: 3 } });
    expect(events.steps.map(({ state }) => state)).toEqual([
      'finished',
      'started',
      'finished',
      'failed',
      'finished',
      'started',
      'planned',
    ]);
    expect(await lab.leftovers()).toEqual([]);
  });
});

describe('the cache', () => {
  test('gives what was built before, and says why something was not', async () => {
    const text = lines('FROM base', 'ARG A', 'COPY file /file', 'RUN cat /file; echo made $A', 'WORKDIR /made');
    const first = await lab.build(text, { context: { file: '1' }, buildArgs: { A: '1' } });
    expect(first.events.use('RUN cat')).toBe('miss: first time');
    const again = await lab.build(text, { context: { file: '1' }, buildArgs: { A: '1' } });
    expect(again.image).toEqual(first.image);
    expect(again.events.steps.map(({ use }) => use?.kind)).toEqual(['none', 'none', 'hit', 'hit', 'hit']);
    const args = await lab.build(text, { context: { file: '1' }, buildArgs: { A: '2' } });
    expect(args.events.use('RUN cat')).toBe('miss: the build arguments changed');
    const files = await lab.build(text, { context: { file: '2' }, buildArgs: { A: '2' } });
    expect(files.events.use('COPY file')).toBe('miss: the files changed');
    expect(files.events.use('RUN cat')).toMatch(/^miss: the base image or an earlier step/);
  });

  test('is not asked with noCache, except for what the same build has finished', async () => {
    const text = 'FROM base\nRUN date +%N > /time\nRUN exit $(cat /time >/dev/null; [ -e /m ] && echo 0 || echo 1)';
    const { events } = await lab.fail(text, { id: 'interrupted', noCache: true });
    expect(events.use('RUN date')).toBe('miss: noCache was asked for');
    const again = await lab.fail(text, { id: 'interrupted', noCache: true });
    expect(again.events.use('RUN date')).toBe('hit');
    const other = await lab.fail(text, { noCache: true });
    expect(other.events.use('RUN date')).toBe('miss: noCache was asked for');
  });

  test('does not tell organizations of each other', async () => {
    const text = 'FROM base\nRUN echo of an organization';
    await lab.build(text);
    const { events } = await lab.build(text, { organizationId: await lab.addOrganization() });
    expect(events.use('RUN echo')).toBe('miss: first time');
  });

  test('lets two builds at once share their steps', async () => {
    const text = lines(
      'FROM base',
      'RUN --mount=type=cache,id=gate,target=/m echo begun; while ! [ -e /m/go ]; do sleep 0.02; done; date +%N > /time',
    );
    const begun = Promise.withResolvers<void>();
    const first = lab.build(text, { onEvents: (events) => void events.said('begun').then(begun.resolve) });
    await begun.promise;
    const joined = Promise.withResolvers<void>();
    const second = lab.build(text, { onEvents: (events) => void events.said('begun').then(joined.resolve) });
    await joined.promise;
    await lab.build('FROM base\nRUN --mount=type=cache,id=gate,target=/m touch /m/go');
    const [one, two] = await Promise.all([first, second]);
    expect(two.events.use('RUN')).toBe('shared');
    expect(two.events.output('RUN')).toBe('begun\n');
    expect(two.image).toEqual(one.image);
  });

  test('COPY --link does not look at what is below', async () => {
    const text = (before: string) => lines('FROM base', before, 'COPY --link file /linked/');
    await lab.build(text('RUN echo 1 > /x'), { context: { file: 'x' } });
    const { events, read } = await lab.build(text('RUN echo 2 > /x'), { context: { file: 'x' } });
    expect(events.use('COPY')).toBe('hit');
    expect(await read('cat linked/file x')).toBe('x2\n');
  });
});
