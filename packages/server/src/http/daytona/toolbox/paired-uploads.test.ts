import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DarkroomError } from '../../../platform/errors.ts';
import { PairedUploads } from './paired-uploads.ts';

let spool: string;
let written: Record<string, string>;
beforeEach(async () => {
  spool = await mkdtemp(join(tmpdir(), 'darkroom-spool-'));
  written = {};
});
afterEach(() => rm(spool, { recursive: true }));

const target = {
  async write(path: string, content: Readable) {
    if (path === 'refused') throw new DarkroomError('forbidden', 'refused cannot be accessed');
    written[path] = await text(content);
  },
};
const of = (content: string) => Readable.from([Buffer.from(content)]);

test('contents go to their paths in any order of the parts', async () => {
  await using uploads = new PairedUploads(target, spool);
  await uploads.field('files[0].path', 'a');
  await uploads.file('files[0].file', of('one'));
  await uploads.file('files[7].file', of('two'));
  expect(await readdir(spool)).toHaveLength(1);
  await uploads.field('files[7].path', 'b');
  await uploads.field('comment', 'nothing of ours');
  await uploads.file('attachment', of('nothing of ours'));
  expect(await uploads.finish()).toEqual([]);
  expect(written).toEqual({ a: 'one', b: 'two' });
  expect(await readdir(spool)).toEqual([]);
});

test('what has no other half is told, and so is what is refused; the others are written', async () => {
  {
    await using uploads = new PairedUploads(target, spool);
    for (const path of ['lonely', 'refused', 'well']) await uploads.field(`files[${path.length}].path`, path);
    await uploads.file('files[7].file', of('x'));
    await uploads.file('files[4].file', of('y'));
    await uploads.file('files[99].file', of('z'));
    expect(await uploads.finish()).toEqual([
      'refused: refused cannot be accessed',
      'files[99]: the path is missing',
      'lonely: the file is missing',
    ]);
    expect(written).toEqual({ well: 'y' });
  }
  expect(await readdir(spool)).toEqual([]);
});

test('no more contents wait for their paths than are good for the disk', async () => {
  await using uploads = new PairedUploads(target, spool);
  for (let number = 0; number < 101; number += 1) await uploads.file(`files[${number}].file`, of('x'));
  expect(await readdir(spool)).toHaveLength(100);
  for (let number = 0; number < 101; number += 1) await uploads.field(`files[${number}].path`, String(number));
  const errors = await uploads.finish();
  expect(errors).toContain('files[100]: send the path of a file before its content');
  expect(Object.keys(written)).toHaveLength(100);
});

test('a form with nothing in it is an error', async () => {
  await using uploads = new PairedUploads(target, spool);
  expect(await uploads.finish()).toEqual(['the form has no files']);
});
