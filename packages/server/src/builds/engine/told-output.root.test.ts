import { afterAll, beforeAll, expect, test } from 'vitest';
import { type BuildLab, createBuildLab } from './testing/build-lab.ts';

let lab: BuildLab;
beforeAll(async () => {
  lab = await createBuildLab();
}, 60_000);
afterAll(() => lab.close());

const CANARY = `canary-${crypto.randomUUID()}`;

// Another build with another secret may have joined the step, and would not know what to look for.
test('what a step writes is told without its secrets, however it is cut', async () => {
  const { events } = await lab.build(
    [
      'FROM base',
      'RUN --mount=type=secret,id=token,env=TOKEN printf "a ${TOKEN%??????}"; sleep 0.05; echo "${TOKEN#??????????????????????????????????????} b"; echo end canary',
    ].join('\n'),
    { secrets: { token: CANARY } },
  );
  const output = events.output('RUN --mount=type=secret');
  expect(output).not.toContain(CANARY.slice(0, 20));
  expect(output).toMatch(/end canary\n$/);
  const whole = await lab.build('FROM base\nRUN --mount=type=secret,id=token cat /run/secrets/token; echo', {
    secrets: { token: CANARY },
  });
  expect(whole.events.output('RUN --mount=type=secret')).toBe('***\n');
});
