import { expect, test, vi } from 'vitest';
import { DarkroomError } from '../platform/errors.ts';
import { run } from '../platform/process.ts';
import { CHECK_TIMEOUT_MS, ok, runCheck } from './probe-check.ts';
import { probeKernel, probeNameServer, probeUser } from './probe-host.ts';

const check = { name: 'thing', advice: 'do this' };

test('a try that raises is a row that failed, with the advice of the error or else of the row', async () => {
  const plain = await runCheck({ ...check, run: () => Promise.reject(new Error('broken')) }, true);
  expect(plain).toEqual({ name: 'thing', status: 'fail', found: 'broken', advice: 'do this' });
  const hinted = new DarkroomError('unavailable', 'broken', { hint: 'do that' });
  expect(await runCheck({ ...check, run: () => Promise.reject(hinted) }, true)).toMatchObject({ advice: 'do that' });
});

test('a tool that is not there is said by its name', async () => {
  const missing = { ...check, run: async () => ok((await run('no-such-tool', [], { timeoutMs: 1000 })).stdout) };
  expect(await runCheck(missing, true)).toMatchObject({ status: 'fail', found: 'no-such-tool is not installed' });
});

test('what needs root is not tried without it', async () => {
  const tried = vi.fn(async () => ok('done'));
  expect(await runCheck({ ...check, needsRoot: true, run: tried }, false)).toMatchObject({ status: 'warn' });
  expect(tried).not.toHaveBeenCalled();
  expect(await runCheck({ ...check, needsRoot: true, run: tried }, true)).toMatchObject({ status: 'ok' });
});

test('a try that never ends is a row that failed', async () => {
  vi.useFakeTimers();
  try {
    const row = runCheck({ ...check, run: () => new Promise(() => {}) }, true);
    await vi.advanceTimersByTimeAsync(CHECK_TIMEOUT_MS);
    expect(await row).toMatchObject({ status: 'fail', found: 'no answer within 5 s', advice: 'do this' });
  } finally {
    vi.useRealTimers();
  }
});

test('kernels before openat2 are refused, old ones are said to be untested', () => {
  expect(probeKernel('5.4.0-generic', 'x64').status).toBe('fail');
  expect(probeKernel('5.9.1', 'arm64').status).toBe('warn');
  expect(probeKernel('5.10.0-28-amd64', 'x64').status).toBe('ok');
  expect(probeKernel('6.18.44+', 'arm64').status).toBe('ok');
  expect(probeKernel('6.1.0', 'riscv64').status).toBe('fail');
});

test('name servers of the configuration count before the machine has any', async () => {
  expect(await probeNameServer(['192.0.2.53'])).toEqual({ status: 'ok', found: '192.0.2.53 (configured)' });
});

test('without root the first row says so', () => {
  expect(probeUser(false)).toMatchObject({ status: 'fail' });
});
