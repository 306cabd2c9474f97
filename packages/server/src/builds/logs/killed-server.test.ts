import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createBuildLogs } from './build-logs.ts';

const ID = '7e0c5b6e-9d0c-4a8c-9f44-000000000003';
let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-killed-log-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test('what readers saw before a server was killed is there afterwards, and the log goes on behind it', async () => {
  const script = join(import.meta.dirname, 'testing/endless-writer.ts');
  const child = spawn(process.execPath, [script, directory, ID], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  const logs = await createBuildLogs({ directory, log: pino({ level: 'silent' }) });
  const { signal } = new AbortController();
  const read = async (from = 0, follow = false) => {
    const lines = [];
    for await (const some of logs.read(ID, { from, follow, signal })) lines.push(...some);
    return lines;
  };
  let seen = await read();
  // Another process does not wake followers of this one.
  while (seen.length < 500 && child.exitCode === null) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    seen = await read();
  }
  child.kill('SIGKILL');
  await ended;

  const follower = read(0, true);
  const writer = await logs.open(ID, { maxBytes: 1e9 });
  writer.write({ step: undefined, stream: 'note', text: 'The server was started again' });
  logs.finish(ID);
  const lines = await follower;
  expect(lines.slice(0, seen.length)).toEqual(seen);
  expect(lines.map(({ index }) => index)).toEqual(lines.map((_, place) => place));
  expect(lines.slice(0, -1).every(({ text }, place) => text.startsWith(`${place} `))).toBe(true);
  expect(lines.at(-1)?.text).toBe('The server was started again');
  await logs.close();
});
