import { expect, test } from 'vitest';
import { run } from './process.ts';

test('a command that does not exist fails at once and keeps no timer', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  await expect(run('no-such-command', [], { timeoutMs: 60_000 })).rejects.toThrow('is not installed');
  expect(timers()).toBe(before);
});

test('a command over its time ends, also when what it started still holds the output', async () => {
  const lingering = run('sh', ['-c', 'sleep 20 & exec sleep 20'], { timeoutMs: 100 });
  await expect(lingering).rejects.toThrow('ended by SIGKILL (limit 100 ms)');
});

test('a failure says what was run and its last words', async () => {
  const failing = run('sh', ['-c', 'echo the reason >&2; exit 3'], { timeoutMs: 5000 });
  await expect(failing).rejects.toThrow(/^sh -c .*: exit code 3: the reason$/);
});

test('input goes in, and codes that are answers do not raise', async () => {
  const result = await run('sh', ['-c', 'cat; exit 1'], { timeoutMs: 5000, input: 'typed', okCodes: [1] });
  expect(result).toEqual({ exitCode: 1, stdout: 'typed', stderr: '' });
});
