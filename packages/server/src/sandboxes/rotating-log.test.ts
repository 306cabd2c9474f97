import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LOG_FILE_BYTES, RotatingLog } from './rotating-log.ts';

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-log-'));
  path = join(directory, 'new', 'a.log');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test('the end of what was written is kept, in two files of bounded size', async () => {
  const log = new RotatingLog(path);
  const piece = Buffer.alloc(256 * 1024, 'x');
  for (let count = 0; count < 40; count++) await log.append(piece);
  await log.append(Buffer.from('last'));
  expect((await readFile(path, 'utf8')).endsWith('last')).toBe(true);
  const sizes = [await stat(path), await stat(`${path}.1`)].map(({ size }) => size);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(LOG_FILE_BYTES + piece.length);
});

test('a later writer goes on behind an earlier one', async () => {
  await new RotatingLog(path).append(Buffer.from('a'));
  const later = new RotatingLog(path);
  await later.append(Buffer.from('b'));
  expect(await readFile(path, 'utf8')).toBe('ab');
  await later.remove();
  await expect(stat(path)).rejects.toThrow('ENOENT');
});
