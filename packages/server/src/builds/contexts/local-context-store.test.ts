import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { boundedContextStore } from './bounded-context-store.ts';
import type { ContextStore } from './context-store.ts';
import { createLocalContextStore } from './local-context-store.ts';
import { bodyOf, contextStoreSuite } from './testing/context-store-suite.ts';

let directory: string;
let store: ContextStore;
const key = { organizationId: '2f6e0d0e-0000-4000-8000-000000000001', hash: 'a'.repeat(32) };
const uploads = () => readdir(join(directory, 'uploads'));

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-contexts-'));
  store = await createLocalContextStore(directory);
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('as every store', () => {
  contextStoreSuite({ open: async () => store, partBytes: 5000 });
});

test('what was not stored leaves nothing, and what was leaves no parts', async () => {
  for (const size of [6, 8]) {
    await expect(store.put(key, { ...bodyOf('content'), size })).rejects.toMatchObject({ code: 'invalid_request' });
  }
  const broken = Readable.from(
    (async function* () {
      yield Buffer.from('half');
      throw new Error('gone');
    })(),
  );
  const id = await store.beginUpload(key);
  await expect(store.putPart(key, id, 1, { stream: broken, size: 8 })).rejects.toThrow('gone');
  expect(await store.listParts(key, id)).toEqual([]);
  const one = await store.putPart(key, id, 1, bodyOf('a'));
  await store.completeUpload(key, id, [one]);
  expect(await uploads()).toEqual([]);
});

test('names that could lead elsewhere are refused', async () => {
  await expect(store.put({ ...key, hash: '../x' }, bodyOf('x'))).rejects.toMatchObject({ code: 'invalid_request' });
  await expect(store.find({ ...key, organizationId: '..' })).rejects.toMatchObject({ code: 'invalid_request' });
  await expect(store.abortUpload(key, '../..')).rejects.toMatchObject({ code: 'invalid_request' });
  const id = await store.beginUpload(key);
  await expect(store.completeUpload(key, id, [{ part: 1, etag: '/../../x' }])).rejects.toThrow('Part 1 was not found');
});

test('a use is noted and changes nothing that clients see', async () => {
  const stored = await store.put(key, bodyOf('content'));
  const path = join(directory, 'stored', key.organizationId, `${key.hash}.tar`);
  const longAgo = new Date(1_600_000_000_000);
  await utimes(path, longAgo, longAgo);
  expect((await store.list(key.organizationId))[0]?.usedAt).toEqual(longAgo);
  const found = await store.find(key);
  expect(found?.usedAt.getTime()).toBeGreaterThan(longAgo.getTime());
  const [listed] = await store.list(key.organizationId);
  expect(listed).toMatchObject({ etag: found?.etag, modifiedAt: longAgo, size: stored.size });
  expect(listed?.usedAt.getTime()).toBeGreaterThan(longAgo.getTime());
});

test('drafts of a server that was killed are gone at the next start', async () => {
  await writeFile(join(directory, 'uploads', 'x.draft'), 'half');
  await createLocalContextStore(directory);
  expect(await uploads()).toEqual([]);
});

test('a completed upload can be completed again, also at the next server, until something else is stored', async () => {
  const id = await store.beginUpload(key);
  const parts = [await store.putPart(key, id, 1, bodyOf('content'))];
  const stored = await store.completeUpload(key, id, parts);
  const next = boundedContextStore(await createLocalContextStore(directory), { maxBytes: 100, maxTotalBytes: 1e6 });
  expect(await next.completeUpload(key, id, parts)).toMatchObject({ etag: stored.etag, size: 7 });
  await next.put(key, bodyOf('other'));
  await expect(next.completeUpload(key, id, parts)).rejects.toMatchObject({ code: 'not_found' });
});
