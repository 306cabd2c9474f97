import { mkdtemp, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { boundedContextStore } from './bounded-context-store.ts';
import type { ContextStore } from './context-store.ts';
import { createLocalContextStore } from './local-context-store.ts';

/** Each context counts 64 KiB besides its bytes. */
const BASE = 64 * 1024;
const limits = { maxBytes: 100, maxTotalBytes: 3 * BASE + 200 };
let directory: string;
let inner: ContextStore;
let store: ContextStore;
const organizationId = '2f6e0d0e-0000-4000-8000-000000000001';
const keyOf = (letter: string) => ({ organizationId, hash: letter.repeat(32) });
const body = (size: number) => ({ stream: Readable.from([Buffer.alloc(size)]), size });

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-contexts-'));
  inner = await createLocalContextStore(directory);
  store = boundedContextStore(inner, limits);
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test('a context that is too large is refused before a byte of it is read, in one piece or in parts', async () => {
  const large = body(101);
  await expect(store.put(keyOf('a'), large)).rejects.toMatchObject({ code: 'payload_too_large' });
  expect(large.stream.readableDidRead).toBe(false);
  const id = await store.beginUpload(keyOf('a'));
  await store.putPart(keyOf('a'), id, 1, body(60));
  await expect(store.putPart(keyOf('a'), id, 2, body(60))).rejects.toMatchObject({ code: 'payload_too_large' });
  // Replacing a part counts once.
  await store.putPart(keyOf('a'), id, 1, body(90));
});

test('parts of an upload that an earlier server began count too', async () => {
  const id = await store.beginUpload(keyOf('a'));
  await store.putPart(keyOf('a'), id, 1, body(60));
  const next = boundedContextStore(inner, limits);
  await expect(next.putPart(keyOf('a'), id, 2, body(60))).rejects.toMatchObject({ code: 'payload_too_large' });
  await expect(next.putPart(keyOf('b'), id, 2, body(1))).rejects.toMatchObject({ code: 'not_found' });
});

test('an organization has its share, and others have theirs', async () => {
  for (const letter of 'abc') await store.put(keyOf(letter), body(60));
  await expect(store.put(keyOf('d'), body(60))).rejects.toMatchObject({ code: 'quota_exceeded' });
  await store.put({ ...keyOf('d'), organizationId: organizationId.replace(/1$/, '2') }, body(60));
  // The same again takes no more.
  await store.put(keyOf('a'), body(20));
  await store.remove(keyOf('b'));
  await store.put(keyOf('d'), body(60));
});

test('what comes at the same time is counted together, and what failed not at all', async () => {
  const tight = boundedContextStore(inner, { maxBytes: 100, maxTotalBytes: 100 });
  const results = await Promise.allSettled([tight.put(keyOf('a'), body(60)), tight.put(keyOf('b'), body(60))]);
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  await inner.remove(keyOf('a'));
  await inner.remove(keyOf('b'));

  const fresh = boundedContextStore(inner, { maxBytes: 100, maxTotalBytes: 100 });
  await expect(fresh.put(keyOf('a'), { ...body(60), size: 70 })).rejects.toMatchObject({ code: 'invalid_request' });
  const id = await fresh.beginUpload(keyOf('a'));
  await fresh.putPart(keyOf('a'), id, 1, body(100));
  await expect(fresh.put(keyOf('b'), body(1))).rejects.toMatchObject({ code: 'quota_exceeded' });
  await fresh.abortUpload(keyOf('a'), id);
  await fresh.put(keyOf('b'), body(1));
});

test('what nobody used for a day makes way, the oldest first', async () => {
  for (const letter of 'abc') await store.put(keyOf(letter), body(60));
  for (const [letter, days] of [
    ['a', 2],
    ['b', 3],
  ] as const) {
    const at = new Date(Date.now() - days * 24 * 3600_000);
    await utimes(join(directory, 'stored', organizationId, `${letter.repeat(32)}.tar`), at, at);
  }
  await store.put(keyOf('d'), body(60));
  expect((await store.list(organizationId)).map(({ hash }) => hash[0])).toEqual(['a', 'c', 'd']);
});
