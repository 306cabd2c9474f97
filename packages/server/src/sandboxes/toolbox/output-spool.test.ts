import { watch } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { OutputSpool } from './output-spool.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-spool-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function readAll(spool: OutputSpool): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of spool.read()) pieces.push(piece);
  await spool.close();
  return Buffer.concat(pieces);
}

test('a small output stays in memory', async () => {
  const spool = new OutputSpool({ directory, maxBytes: 1000 });
  await spool.write(Buffer.from('a'));
  await spool.write(Buffer.from('b'));
  expect(spool.small?.toString()).toBe('ab');
});

test('a large output comes back as it was, from a file that has no name', async () => {
  const spool = new OutputSpool({ directory, maxBytes: 100_000_000 });
  const pieces = Array.from({ length: 50 }, (_, index) => Buffer.alloc(100_000, index));
  await Promise.all(pieces.map((piece) => spool.write(piece)));
  expect(spool.small).toBeUndefined();
  expect(await readdir(directory)).toEqual([]);
  expect((await readAll(spool)).equals(Buffer.concat(pieces))).toBe(true);
});

test('what is past the bound is dropped, and the end says how much', async () => {
  const spool = new OutputSpool({ directory, maxBytes: 10 });
  await spool.write(Buffer.from('0123456789abc'));
  expect((await readAll(spool)).toString()).toBe(
    '0123456789\n[output truncated: 3 more bytes were dropped, the limit is 10 bytes]\n',
  );
});

test('a disk that takes nothing ends the output and not the command', async () => {
  const spool = new OutputSpool({ directory: join(directory, 'missing'), maxBytes: 100_000_000 });
  await spool.write(Buffer.alloc(2_000_000, 'x'));
  const text = (await readAll(spool)).toString();
  expect(text.slice(0, 1024 * 1024)).toBe('x'.repeat(1024 * 1024));
  expect(text.slice(1024 * 1024)).toContain('more bytes were dropped, keeping it failed: ENOENT');
});

test('what comes after the close opens no file again', async () => {
  const spool = new OutputSpool({ directory: join(directory, 'later'), maxBytes: 100_000_000 });
  await spool.write(Buffer.alloc(1024 * 1024, 'x'));
  await spool.close();
  await mkdir(join(directory, 'later'));
  const watched = watch(join(directory, 'later'));
  const made: string[] = [];
  watched.on('change', (_, name) => made.push(String(name)));
  await spool.write(Buffer.alloc(1024, 'x'));
  await writeFile(join(directory, 'later', 'mark'), '');
  await expect.poll(() => made).toContain('mark');
  watched.close();
  expect(new Set(made)).toEqual(new Set(['mark']));
});
