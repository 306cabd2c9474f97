import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { replaceFile } from './replace-file.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-replace-file-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test('replaces what is there, with the mode that was asked for, whatever the umask is', async () => {
  const path = join(directory, 'file');
  await writeFile(path, 'earlier', { mode: 0o644 });
  const umask = process.umask(0o077);
  try {
    await replaceFile(path, 'secret', 0o600);
    expect([await readFile(path, 'utf8'), (await stat(path)).mode & 0o777]).toEqual(['secret', 0o600]);
    await replaceFile(path, 'for all', 0o644);
  } finally {
    process.umask(umask);
  }
  expect([await readFile(path, 'utf8'), (await stat(path)).mode & 0o777]).toEqual(['for all', 0o644]);
});

test('a draft that a killed writer left, open to all, is neither written to nor left', async () => {
  const path = join(directory, 'file');
  await writeFile(`${path}.new`, 'half', { mode: 0o666 });
  await replaceFile(path, 'whole', 0o600);
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(directory)).toEqual(['file']);
});

test('what cannot be put there leaves no draft', async () => {
  const path = join(directory, 'folder');
  await mkdir(path);
  await expect(replaceFile(path, 'content', 0o600)).rejects.toThrow();
  expect(await readdir(directory)).toEqual(['folder']);
});
