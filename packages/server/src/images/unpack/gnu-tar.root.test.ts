import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { run } from '../../platform/process.ts';
import { ID_BASE } from './testing/layer-blob.ts';
import { makeFullTree, makePlainTree } from './testing/sample-tree.ts';
import { describeTree } from './testing/tree.ts';
import { unpackArchive } from './testing/unpack-archive.ts';

let base: string;
const path = (name: string) => join(base, name);
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'gnu-tar-'));
  mkdirSync(path('source'));
  mkdirSync(path('theirs'));
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const tar = (...args: string[]) => run('tar', args, { timeoutMs: 60_000 });

async function compare(...options: string[]) {
  await tar('--create', '--file', path('x.tar'), '--numeric-owner', ...options, '-C', path('source'), '.');
  await tar(
    '--extract',
    '--file',
    path('x.tar'),
    '-C',
    path('theirs'),
    '--numeric-owner',
    '--same-owner',
    '-p',
    '--xattrs',
    '--xattrs-include=*',
  );
  await unpackArchive(readFileSync(path('x.tar')), path('ours'));
  const theirs = describeTree(path('theirs'));
  expect(Object.keys(theirs).length).toBeGreaterThan(6);
  expect(describeTree(path('ours'), { idBase: ID_BASE })).toEqual(theirs);
}

describe('an archive that GNU tar wrote is unpacked as GNU tar does', () => {
  it.each(['v7', 'ustar', 'oldgnu', 'gnu', 'posix'])('in format %s', async (format) => {
    makePlainTree(path('source'));
    await compare(`--format=${format}`);
  });

  it.each([
    '--format=oldgnu --sparse',
    '--format=gnu --sparse',
    '--format=posix --sparse --sparse-version=0.0 --xattrs --xattrs-include=*',
    '--format=posix --sparse --sparse-version=0.1 --xattrs --xattrs-include=*',
    '--format=posix --sparse --sparse-version=1.0 --xattrs --xattrs-include=*',
    '--format=posix --xattrs --xattrs-include=*',
  ])('with everything that a root file system has (%s)', async (text) => {
    const options = text.split(' ');
    makeFullTree(path('source'));
    await compare(...options);
    if (!options.includes('--sparse')) return;
    expect(statSync(path('ours/sparse-2')).blocks).toBeLessThan(2_000);
  });

  it.each(['--format=gnu', '--format=posix --sparse-version=0.1', '--format=posix --sparse-version=1.0'])(
    'with a sparse file of more than 8 GiB (%s)',
    async (text) => {
      const size = 9 * 2 ** 30;
      writeFileSync(path('source/big'), 'begin');
      truncateSync(path('source/big'), size);
      appendFileSync(path('source/big'), 'end');
      for (let index = 0; index < 8; index++) writeFileSync(path(`source/${index}`), `${index}`);
      await compare('--sparse', ...text.split(' '));
      const stats = statSync(path('ours/big'));
      expect(stats.size).toBe(size + 3);
      expect(stats.blocks).toBeLessThan(1000);
      await using file = await open(path('ours/big'));
      expect((await file.read(Buffer.alloc(5), 0, 5, 0)).buffer.toString()).toBe('begin');
      expect((await file.read(Buffer.alloc(3), 0, 3, size)).buffer.toString()).toBe('end');
    },
  );
});
