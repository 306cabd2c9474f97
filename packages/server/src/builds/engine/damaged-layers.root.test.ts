import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createLayerHealth, type LayerHealth } from '../../images/health/layer-health.ts';
import { createLayerVerifier, type LayerVerifier } from '../../images/health/verify-layer.ts';
import { type BuildLab, createBuildLab } from './testing/build-lab.ts';

let lab: BuildLab;
let verifier: LayerVerifier;
/** As a server has it that was started later: nothing was looked at. */
let later: LayerHealth;
let looks = 0;

beforeAll(async () => {
  verifier = createLayerVerifier();
  lab = await createBuildLab({
    deps: {
      health: {
        async ensureSound(ids, signal) {
          looks += 1;
          await later.ensureSound(ids, signal);
        },
      },
    },
    isDamaged: (id) => later.isDamaged(id),
  });
  const { store } = lab;
  later = await createLayerHealth({
    store,
    fetchAgain: async () => false,
    usersOf: async () => [],
    log: { warn() {} },
  });
}, 60_000);
afterAll(async () => {
  await later?.close();
  await verifier?.close();
  await lab?.close();
});

test('a build that would put a step on damaged files fails, and the next one makes them anew', async () => {
  const first = await lab.build('FROM base\nRUN echo content > /file\n');
  const signal = new AbortController().signal;
  const built = await lab.layers.get(first.image.layers.at(-1) ?? '');
  if (built === undefined) throw new Error('no layer');
  await verifier.recordLayer(built.path, { contents: true, signal });
  truncateSync(join(built.path, 'file'), 2);

  // All of it is cached: nothing is looked at, and nothing is built on it.
  const before = looks;
  await lab.build('FROM base\nRUN echo content > /file\n');
  expect(looks).toBe(before);

  const { failure } = await lab.fail('FROM base\nRUN echo content > /file\nRUN cat /file\n');
  expect(failure).toMatchObject({ retryable: true, message: expect.stringContaining('/file: its size') });
  const again = await lab.build('FROM base\nRUN echo content > /file\nRUN cat /file\n');
  expect(again.events.output('RUN cat')).toBe('content\n');
  expect(again.image.layers).not.toContain(built.diffId);
});
