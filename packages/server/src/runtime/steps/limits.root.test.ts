import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { StepMount } from '../step-types.ts';
import { MIB, openLab, type SandboxLab } from '../testing/sandbox-lab.ts';
import { finishStep, makeLayer, remainsOfSteps, runStep, stepSpec } from '../testing/step-lab.ts';

let lab: SandboxLab;
beforeAll(async () => {
  lab = await openLab();
});
afterAll(() => lab.close());

const limits = { cpu: 2, memoryBytes: 64 * MIB, pids: 64 };
const FORK_BOMB = 'bomb() { bomb | bomb & }; bomb; echo begun; while :; do sleep 1; done';

describe('a step that wants too much', () => {
  test('of memory is told so', async () => {
    const step = await runStep(lab, 'tail /dev/zero; echo $? >&2; exit 1', { limits });
    expect(step).toMatchObject({ exceeded: 'memory', exitCode: 1, stderr: expect.stringContaining('137') });
    expect(step.peakMemoryBytes).toBeGreaterThan(60 * MIB);
    const fine = await runStep(lab, 'true', { limits });
    expect(fine).toMatchObject({ exceeded: undefined, exitCode: 0 });
  });

  test('of processes is told so, and its fork bomb ends when it is killed', async () => {
    const few = await runStep(lab, 'for i in $(seq 80); do sleep 5 & done; echo', { limits });
    expect(few.pidsExceeded).toBe(true);
    const step = await lab.runtime.steps.run(await stepSpec(lab, FORK_BOMB, { limits }));
    const finished = finishStep(step);
    await once(step.stderr, 'data');
    await step.kill();
    expect(await finished).toMatchObject({ exitCode: 137, pidsExceeded: true, exceeded: undefined });
    expect(await remainsOfSteps(lab)).toEqual([]);
  });

  test('of the disk is ended', async () => {
    const script = 'trap "" TERM; while :; do dd if=/dev/zero of=/f$((n=n+1)) bs=64k count=16 2>/dev/null; done';
    const step = await runStep(lab, script, { limits: { ...limits, memoryBytes: 256 * MIB, diskBytes: 16 * MIB } });
    expect(step).toMatchObject({ exceeded: 'disk', exitCode: 137 });
  });

  test('of the disk does not come through by being quick', async () => {
    const script = 'dd if=/dev/zero of=/big bs=1M count=24';
    const step = await runStep(lab, script, { limits: { ...limits, memoryBytes: 256 * MIB, diskBytes: 16 * MIB } });
    expect(step.exceeded).toBe('disk');
  });

  test('of the disk is not ended for what others write, or for what it has deleted', async () => {
    const held = { ...limits, memoryBytes: 256 * MIB, diskBytes: 16 * MIB };
    const script = 'for i in 1 2 3 4; do dd if=/dev/zero of=/f bs=1M count=8 2>/dev/null; rm /f; sleep 0.2; done';
    const [modest] = await Promise.all([
      runStep(lab, script, { limits: held }),
      runStep(lab, 'dd if=/dev/zero of=/f bs=1M count=64', { limits: { ...limits, memoryBytes: 256 * MIB } }),
    ]);
    expect(modest).toMatchObject({ exitCode: 0, exceeded: undefined });
  });

  test('of what it may write to of the host is ended, and what was there before counts', async () => {
    const cache = await makeLayer(lab, async (directory) =>
      writeFile(join(directory, 'before'), Buffer.alloc(12 * MIB, 1)),
    );
    const mounts: StepMount[] = [{ kind: 'bind', root: cache, path: '/', target: '/c', writable: true }];
    const script = 'while :; do dd if=/dev/zero of=/c/f$((n=n+1)) bs=64k count=16 2>/dev/null; sleep 0.1; done';
    const held = { ...limits, memoryBytes: 256 * MIB };
    const step = await runStep(lab, script, { mounts, mountedBytes: 16 * MIB, limits: held });
    expect(step).toMatchObject({ exceeded: 'mounted', exitCode: 137 });
    const modest = await runStep(lab, 'echo x > /c/x', { mounts, mountedBytes: 512 * MIB, limits: held });
    expect(modest).toMatchObject({ exceeded: undefined, exitCode: 0 });
  });

  test('than there is room for is ended before the pool is full, and none is begun then', async () => {
    const small = await openLab(undefined, { poolBytes: 100 * MIB });
    onTestFinished(() => small.close());
    const script = 'while :; do dd if=/dev/zero of=/f$((n=n+1)) bs=64k count=64; sleep 0.1; done 2>/dev/null';
    const step = await runStep(small, script, { limits: { ...limits, memoryBytes: 512 * MIB } });
    expect(step).toMatchObject({ exceeded: 'pool', exitCode: 137 });
    await expect(runStep(small, 'true')).rejects.toMatchObject({ code: 'insufficient_storage' });
  });
});

describe('a step that is killed', () => {
  test('ends with everything that it started, whatever that ignores', async () => {
    const script = 'trap "" TERM INT HUP; setsid sh -c "trap \\"\\" TERM; echo begun; sleep 1000; sleep 1000" & wait';
    const step = await lab.runtime.steps.run(await stepSpec(lab, script));
    const finished = finishStep(step);
    await once(step.stdout, 'data');
    await Promise.all([step.kill(), step.kill()]);
    expect(await finished).toMatchObject({ exitCode: 137 });
    await step.kill();
    expect(await remainsOfSteps(lab)).toEqual([]);
  });

  test('at any moment of its start leaves nothing', async () => {
    const { steps } = lab.runtime;
    for (let turns = 0; turns < 12; turns += 1) {
      const step = await steps.run(await stepSpec(lab, 'sleep 1000'));
      const finished = finishStep(step);
      for (let turn = 0; turn < turns * turns; turn += 1) await new Promise(setImmediate);
      await step.kill();
      expect(await finished).toMatchObject({ exitCode: 137 });
    }
    expect(await remainsOfSteps(lab)).toEqual([]);
  });

  test('while it writes and nobody reads', async () => {
    const step = await lab.runtime.steps.run(await stepSpec(lab, 'yes'));
    await once(step.stdout, 'readable');
    await step.kill();
    expect(await step.exited).toMatchObject({ exitCode: 137 });
    step.stdout.destroy();
    step.stderr.destroy();
  });

  test('because the runtime closes', async () => {
    const step = await lab.runtime.steps.run(await stepSpec(lab, 'echo begun; sleep 1000'));
    const finished = finishStep(step);
    await once(step.stdout, 'data');
    await lab.reopen();
    expect(await finished).toMatchObject({ exitCode: 137 });
    expect(await remainsOfSteps(lab)).toEqual([]);
  });
});
