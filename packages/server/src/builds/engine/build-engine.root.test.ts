import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BuildLab, createBuildLab } from './testing/build-lab.ts';

let lab: BuildLab;
beforeAll(async () => {
  lab = await createBuildLab();
}, 60_000);
afterAll(() => lab.close());

test('a Dockerfile becomes an image', async () => {
  const { image, events, read } = await lab.build(
    [
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
    ].join('\n'),
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
