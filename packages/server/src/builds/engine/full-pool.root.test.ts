import { afterAll, beforeAll, expect, test } from 'vitest';
import { MIB } from '../../runtime/testing/sandbox-lab.ts';
import { type BuildLab, createBuildLab } from './testing/build-lab.ts';

let lab: BuildLab;
beforeAll(async () => {
  lab = await createBuildLab({ imageBytes: 512 * MIB });
}, 60_000);
afterAll(() => lab.close());

test('caches of mounts that nobody uses make room', async () => {
  await lab.build('FROM base\nRUN --mount=type=cache,id=kept,target=/c dd if=/dev/zero of=/c/file bs=1M count=50');
  expect(await lab.engine.makeRoom()).toBeGreaterThan(0);
  const { events } = await lab.build('FROM base\nRUN --mount=type=cache,id=kept,target=/c ls /c');
  expect(events.output('RUN')).toBe('');
});

test('a step that fills the disk fails, and what it wrote is gone for the next one', async () => {
  for (const target of ['/file', '/c/file']) {
    const { failure } = await lab.fail(
      `FROM base\nRUN --mount=type=cache,id=full,target=/c dd if=/dev/zero of=${target} bs=1M count=1000`,
    );
    expect(failure).toMatchObject({ class: 'limit_exceeded', retryable: true, step: { number: 2 } });
  }
  const { read } = await lab.build('FROM base\nRUN dd if=/dev/zero of=/file bs=1M count=100');
  expect(await read('stat -c %s file')).toBe(`${100 * MIB}\n`);
  expect(await lab.leftovers()).toEqual([]);
});

test('so does a copy', async () => {
  await lab.build('FROM base\nRUN dd if=/dev/zero of=/file bs=1M count=150');
  // Small files share no blocks.
  const text = 'x'.repeat(40_000);
  const context = Object.fromEntries(Array.from({ length: 2000 }, (_, index) => [`files/${index}`, text]));
  const { failure } = await lab.fail('FROM base\nCOPY files /a\nCOPY files /b\nCOPY files /c', { context });
  expect(failure).toMatchObject({ class: 'limit_exceeded', code: 'insufficient_storage', retryable: true });
  expect(await lab.leftovers()).toEqual([]);
});
