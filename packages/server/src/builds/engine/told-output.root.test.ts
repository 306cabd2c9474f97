import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BuildLab, createBuildLab } from './testing/build-lab.ts';

let lab: BuildLab;
beforeAll(async () => {
  lab = await createBuildLab();
}, 60_000);
afterAll(() => lab.close());

const CANARY = `canary-${crypto.randomUUID()}`;
const SECRET = '/run/secrets/token';

// Another build with another secret may have joined the step, and would not know what to look for.
test('what a step writes is told without its secrets, however it is cut', async () => {
  const { events } = await lab.build(
    `FROM base\nRUN --mount=type=secret,id=token cat ${SECRET}; echo; head -c 20 ${SECRET}; tail -c +21 ${SECRET}; echo; printf canary`,
    { secrets: { token: CANARY } },
  );
  expect(events.output('RUN --mount=type=secret')).toBe('***\n***\ncanary');
});
