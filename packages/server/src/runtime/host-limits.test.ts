import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { raiseHostLimits } from './host-limits.ts';

let root: string;
let said: string[];
const log = {
  info: (data: object) => void said.push(`raised ${JSON.stringify(data)}`),
  warn: (data: object) => void said.push(`warned ${JSON.stringify(data)}`),
};
beforeEach(async () => {
  said = [];
  root = await mkdtemp(join(tmpdir(), 'darkroom-limits-'));
  for (const dir of ['kernel', 'fs/epoll']) await mkdir(join(root, dir), { recursive: true });
});
afterEach(() => rm(root, { recursive: true, force: true }));

const read = (name: string) => readFile(join(root, name), 'utf8');

test('limits that are too low for many sandboxes are raised, and what is enough is left alone', async () => {
  await writeFile(join(root, 'kernel/pid_max'), '32768\n');
  await writeFile(join(root, 'fs/file-max'), '9223372036854775807\n');
  await writeFile(join(root, 'fs/pipe-user-pages-soft'), '16384\n');
  await raiseHostLimits(log, root);
  expect(await read('kernel/pid_max')).toBe('4194304');
  expect(await read('fs/file-max')).toBe('9223372036854775807\n');
  expect(await read('fs/pipe-user-pages-soft')).toBe('0');
  expect(said).toHaveLength(2);
  await raiseHostLimits(log, root);
  expect(said).toHaveLength(2);
});

test('a machine that does not let us, or lacks one, is no reason not to start', async () => {
  await mkdir(join(root, 'kernel/pid_max'));
  await raiseHostLimits(log, root);
  expect(said).toEqual([expect.stringContaining('warned {"setting":"kernel.pid_max"')]);
});
