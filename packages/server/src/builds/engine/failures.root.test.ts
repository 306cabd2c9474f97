import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MIB } from '../../runtime/testing/sandbox-lab.ts';
import { type BuildLab, createBuildLab } from './testing/build-lab.ts';

let lab: BuildLab;
beforeAll(async () => {
  lab = await createBuildLab();
}, 60_000);
afterAll(() => lab.close());

describe('what the author can put right', () => {
  test('a command that fails is told with its step, line, command and exit code', async () => {
    const { failure, events } = await lab.fail('FROM base\n\nRUN echo "to err"; exit 42\nRUN true');
    expect(failure).toMatchObject({
      class: 'user',
      code: 'invalid_request',
      retryable: false,
      message: 'the command "/bin/sh -c echo \\"to err\\"; exit 42" ended with exit code 42',
      step: { number: 2, line: 3, text: 'RUN echo "to err"; exit 42', exitCode: 42 },
    });
    expect(failure.step?.command).toBe('/bin/sh -c echo "to err"; exit 42');
    expect(events.find('RUN echo')).toMatchObject({ state: 'failed', exitCode: 42, output: 'to err\n' });
  });

  test.each([
    ['RUN ["nothing-like-that"]', 127],
    ['RUN ["/etc/passwd"]', 126],
  ])('%s cannot be started', async (text, exitCode) => {
    const { failure } = await lab.fail(`FROM base\n${text}`);
    expect(failure).toMatchObject({ class: 'user', step: { line: 2, exitCode } });
  });

  test('a user that is not there', async () => {
    const { failure } = await lab.fail('FROM base\nUSER nobody-like-that\nWORKDIR /w\nRUN true');
    expect(failure).toMatchObject({ class: 'user', step: { line: 4, exitCode: undefined } });
    expect(failure.message).toContain('nobody-like-that');
  });

  test('a file that is not there, with those that are near', async () => {
    const { failure } = await lab.fail('FROM base\nCOPY requirments.txt /', { context: { 'requirements.txt': '' } });
    expect(failure).toMatchObject({ class: 'user', step: { number: 2, text: 'COPY requirments.txt /' } });
    expect(failure.hint).toContain('requirements.txt');
    const without = await lab.fail('FROM base\nCOPY requirements.txt /');
    expect(without.failure.hint).toContain('Nothing but the Dockerfile is in the build’s context');
    expect((await lab.fail('FROM base\nCOPY ../up /')).failure.hint).toContain('Names go no higher than the root');
  });

  test('an image that cannot be had, at the step that names it', async () => {
    expect((await lab.fail('FROM nothing-like-that')).failure).toMatchObject({ step: { number: 1, line: 1 } });
    const { failure } = await lab.fail('FROM base\nCOPY --from=nothing-like-that /a /b');
    expect(failure).toMatchObject({ code: 'image_unavailable', step: { number: 2, line: 2 } });
  });

  test('the name of a stage that is none is compared with those that are', async () => {
    const copy = await lab.fail('FROM base AS build\nFROM base\nCOPY --from=biuld /a /b');
    expect(copy.failure).toMatchObject({ code: 'image_unavailable', step: { line: 3 } });
    expect(copy.failure.hint).toBe(
      'No stage above is called biuld, so that it is taken for an image. Did you mean build?',
    );
    expect((await lab.fail('FROM base AS build\nFROM buidl')).failure.hint).toContain('Did you mean build?');
    const { hint } = (await lab.fail('FROM base AS one\nFROM base AS two\nCOPY --from=nothing-like-that /a /b'))
      .failure;
    expect(hint).toContain('Those above are one.');
  });

  test('a text that is none', async () => {
    const { failure, events } = await lab.fail('FROM base\nRNU x');
    expect(failure).toMatchObject({ class: 'user', step: undefined });
    expect(failure.message).toBe('Dockerfile line 2: unknown instruction: RNU');
    expect(events.steps).toEqual([]);
  });

  test('a context that was not uploaded', async () => {
    const lost = { organizationId: await lab.addOrganization(), contexts: ['0'.repeat(64)] };
    const { failure } = await lab.fail('FROM base\nCOPY . .', lost);
    expect(failure).toMatchObject({ class: 'user', step: { line: 2 } });
  });
});

describe('limits', () => {
  test('time', async () => {
    const { failure } = await lab.fail('FROM base\nRUN sleep 300', { limits: { stepSeconds: 0.5 } });
    expect(failure).toMatchObject({ class: 'limit_exceeded', step: { number: 2 } });
    expect(failure.message).toContain('longer than the 0.5 seconds');
  });

  test('memory', async () => {
    const { failure } = await lab.fail('FROM base\nRUN tail /dev/zero', { limits: { memoryBytes: 32 * MIB } });
    expect(failure).toMatchObject({ class: 'limit_exceeded' });
    expect(failure.message).toContain('more than the 32 MiB of memory');
  });

  test('processes', async () => {
    const { failure } = await lab.fail('FROM base\nRUN for i in $(seq 100); do sleep 30 & done; wait', {
      limits: { pids: 20 },
    });
    expect(failure).toMatchObject({ class: 'limit_exceeded' });
    expect(failure.message).toContain('more than the 20 processes');
  });

  test('disk', async () => {
    const { failure } = await lab.fail('FROM base\nRUN cat /dev/zero > /file', { limits: { diskBytes: 16 * MIB } });
    expect(failure).toMatchObject({ class: 'limit_exceeded' });
    expect(failure.message).toContain('more than the 16 MiB');
    const quick = await lab.fail('FROM base\nRUN dd if=/dev/zero of=/file bs=1M count=20', {
      limits: { diskBytes: 16 * MIB },
    });
    expect(quick.failure.step?.exitCode).not.toBe(0);
  });

  test('the size of the image, all layers together', async () => {
    const fill = (name: string) => `RUN dd if=/dev/urandom of=/${name} bs=1M count=5`;
    const text = `FROM base\n${fill('a')}\n${fill('b')}`;
    const limits = { maxBytes: 9 * MIB };
    const { failure, events } = await lab.fail(text, { limits });
    expect(failure).toMatchObject({ class: 'limit_exceeded', step: { number: 3 } });
    expect(events.find('RUN dd').state).toBe('finished');
    const { image } = await lab.build(text);
    expect(image.sizeBytes).toBeGreaterThan(10 * MIB);
    // From the cache it is not smaller.
    const again = await lab.fail(text, { limits });
    expect(again.failure.message).toMatch(/^the image has grown to 11/);
  });
});

test('a cancel ends everything that a step has started, and leaves nothing behind', async () => {
  const controller = new AbortController();
  const begun = Promise.withResolvers<void>();
  const building = lab.build(
    'FROM base\nRUN setsid sleep 987654 & (trap "" TERM; sleep 987654) & echo begun > /file; cat /file; sleep 987654',
    { signal: controller.signal, onEvents: (events) => void events.said('begun').then(begun.resolve) },
  );
  building.catch(() => {});
  await begun.promise;
  controller.abort(new Error('cancelled'));
  await expect(building).rejects.toThrow('cancelled');
  expect(processesWith('987654')).toEqual([]);
  expect(await lab.leftovers()).toEqual([]);
});

test('a build that is over before it begins does nothing', async () => {
  const signal = AbortSignal.abort(new Error('cancelled'));
  await expect(lab.build('FROM base\nRUN true', { signal })).rejects.toThrow('cancelled');
});

test('a cancelled build does not end the step that another one waits for', async () => {
  const text =
    'FROM base\nRUN --mount=type=cache,id=gate,target=/m echo begun; while ! [ -e /m/go ]; do sleep 0.02; done; cat x';
  const build = (begun: PromiseWithResolvers<void>, signal?: AbortSignal) =>
    lab.build(`${text.replace('cat x', 'cat /context/x')}`.replace('RUN ', 'RUN --mount=target=/context '), {
      context: { x: 'of the context' },
      onEvents: (events) => void events.said('begun').then(begun.resolve),
      ...(signal === undefined ? {} : { signal }),
    });
  const controller = new AbortController();
  const [one, two] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const first = build(one, controller.signal);
  first.catch(() => {});
  await one.promise;
  const second = build(two);
  await two.promise;
  controller.abort(new Error('cancelled'));
  await expect(first).rejects.toThrow('cancelled');
  await lab.build('FROM base\nRUN --mount=type=cache,id=gate,target=/m touch /m/go');
  expect((await second).events.output('RUN')).toBe('begun\nof the context');
  expect(await lab.leftovers()).toEqual([]);
});

function processesWith(argument: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(argument);
    } catch {
      return false;
    }
  });
}
