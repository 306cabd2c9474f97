import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ContextStore } from './context-store.ts';
import { createLocalContextStore } from './local-context-store.ts';

let directory: string;
let store: ContextStore;
const key = { organizationId: '2f6e0d0e-0000-4000-8000-000000000001', hash: 'a'.repeat(32) };
const other = { ...key, organizationId: '2f6e0d0e-0000-4000-8000-000000000002' };
const body = (text: string) => ({ stream: Readable.from([Buffer.from(text)]), size: Buffer.byteLength(text) });
const textOf = async (stream: Readable) => Buffer.concat(await stream.toArray()).toString();

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-contexts-'));
  store = await createLocalContextStore(directory);
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test('what was stored is found by its organization alone, whole or in part', async () => {
  const stored = await store.put(key, body('content'));
  expect(stored).toMatchObject({ ...key, size: 7 });
  expect(await store.find(key)).toMatchObject({ ...key, size: 7, etag: stored.etag, modifiedAt: stored.modifiedAt });
  expect(await store.find(other)).toBeUndefined();
  expect(await textOf((await store.read(key)).stream)).toBe('content');
  expect(await textOf((await store.read(key, { start: 1, end: 3 })).stream)).toBe('ont');
  expect(await store.list(key.organizationId)).toMatchObject([{ ...key, etag: stored.etag }]);
  expect(await store.list(other.organizationId)).toEqual([]);
});

test('whoever reads goes on with the old one when a new one is stored', async () => {
  await store.put(key, body('old'));
  const { stream } = await store.read(key);
  await store.put(key, body('new'));
  expect(await textOf(stream)).toBe('old');
  expect(await textOf((await store.read(key)).stream)).toBe('new');
});

test('a body that breaks off, or is not as long as was said, leaves nothing', async () => {
  const broken = Readable.from(
    (async function* () {
      yield Buffer.from('half');
      throw new Error('gone');
    })(),
  );
  await expect(store.put(key, { stream: broken, size: 8 })).rejects.toThrow('gone');
  for (const size of [6, 8]) {
    await expect(store.put(key, { ...body('content'), size })).rejects.toMatchObject({ code: 'invalid_request' });
  }
  expect(await store.find(key)).toBeUndefined();
  expect(await readdir(join(directory, 'uploads'))).toEqual([]);
});

test('parts in any order, one of them sent again, become one context', async () => {
  const id = await store.beginUpload(key);
  const three = await store.putPart(key, id, 3, body('c'));
  await store.putPart(key, id, 1, body('wrong'));
  const [one, two] = await Promise.all([store.putPart(key, id, 1, body('a')), store.putPart(key, id, 2, body('b'))]);
  expect(await store.find(key)).toBeUndefined();
  const parts = [one, two, three].map(({ etag }, index) => ({ part: index + 1, etag }));
  expect(await store.completeUpload(key, id, parts)).toMatchObject({ size: 3 });
  expect(await textOf((await store.read(key)).stream)).toBe('abc');
  expect(await readdir(join(directory, 'uploads'))).toEqual([]);
});

test('an upload is its organization’s, and must name parts that are there, in order', async () => {
  const id = await store.beginUpload(key);
  const { etag } = await store.putPart(key, id, 1, body('a'));
  await expect(store.putPart(other, id, 1, body('x'))).rejects.toMatchObject({ code: 'not_found' });
  await expect(store.completeUpload(other, id, [{ part: 1, etag }])).rejects.toMatchObject({ code: 'not_found' });
  await expect(store.completeUpload(key, id, [])).rejects.toMatchObject({ code: 'invalid_request' });
  await expect(store.completeUpload(key, id, [{ part: 2, etag }])).rejects.toThrow('Part 2 was not found');
  await expect(store.putPart(key, id, 0, body('x'))).rejects.toThrow('between 1 and 10000');
  await store.abortUpload(key, id);
  await store.abortUpload(key, id);
  await expect(store.putPart(key, id, 1, body('x'))).rejects.toMatchObject({ code: 'not_found' });
});

test('names that could lead elsewhere are refused', async () => {
  await expect(store.put({ ...key, hash: '../x' }, body('x'))).rejects.toMatchObject({ code: 'invalid_request' });
  await expect(store.find({ ...key, organizationId: '..' })).rejects.toMatchObject({ code: 'invalid_request' });
  await expect(store.abortUpload(key, '../..')).rejects.toMatchObject({ code: 'invalid_request' });
});

test('an upload lists its parts', async () => {
  const id = await store.beginUpload(key);
  await store.putPart(key, id, 2, body('bb'));
  await store.putPart(key, id, 1, body('a'));
  expect(await store.listParts(key, id)).toMatchObject([
    { part: 1, size: 1 },
    { part: 2, size: 2 },
  ]);
  await expect(store.listParts(other, id)).rejects.toMatchObject({ code: 'not_found' });
});

test('uploads that nobody goes on with are swept after a day, contexts when nobody used them', async () => {
  const DAY = 24 * 3600_000;
  await store.beginUpload(key);
  const stored = await store.put(key, body('content'));
  expect(await store.sweep(new Date(), new Date(Date.now() - DAY))).toBe(0);
  expect(await store.sweep(new Date(Date.now() + 25 * 3600_000), new Date(Date.now() - DAY))).toBe(1);

  const path = join(directory, 'stored', key.organizationId, `${key.hash}.tar`);
  const longAgo = new Date(1_600_000_000_000);
  await utimes(path, longAgo, longAgo);
  const found = await store.find(key);
  expect(found?.usedAt.getTime()).toBeGreaterThan(Date.now() - DAY);
  expect(await store.sweep(new Date(), new Date(Date.now() - DAY))).toBe(0);
  // Its use changed nothing that clients see.
  expect(await store.find(key)).toMatchObject({ etag: found?.etag, modifiedAt: longAgo, size: stored.size });
  expect(await store.sweep(new Date(), new Date(Date.now() + DAY))).toBe(1);
  expect(await store.find(key)).toBeUndefined();
});

test('drafts of a server that was killed are gone at the next start', async () => {
  await writeFile(join(directory, 'uploads', 'x.draft'), 'half');
  await createLocalContextStore(directory);
  expect(await readdir(join(directory, 'uploads'))).toEqual([]);
});
