import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { beforeEach, expect, test } from 'vitest';
import type { ContextKey, ContextStore } from '../context-store.ts';

export interface SuiteOptions {
  open: () => Promise<ContextStore>;
  /** The smallest that a part before the last may be. */
  partBytes: number;
  /** Some stores that imitate others say that each upload is years old. */
  knowsAgeOfUploads?: boolean;
}

export const bodyOf = (text: string) => ({
  stream: Readable.from(text === '' ? [] : [Buffer.from(text)]),
  size: Buffer.byteLength(text),
});
export const textOf = async (stream: Readable) => Buffer.concat(await stream.toArray()).toString();

/** What every store of contexts promises. */
export function contextStoreSuite({ open, partBytes, knowsAgeOfUploads = true }: SuiteOptions): void {
  let store: ContextStore;
  let key: ContextKey;
  let other: ContextKey;
  const part = (letter: string) => letter.repeat(partBytes);

  beforeEach(async () => {
    store = await open();
    key = { organizationId: randomUUID(), hash: 'a'.repeat(32) };
    other = { ...key, organizationId: randomUUID() };
  });

  test('what was stored is found by its organization alone, whole or in part', async () => {
    const { etag, modifiedAt } = await store.put(key, bodyOf('content'));
    const expected = { ...key, size: 7, etag, modifiedAt };
    expect(await store.find(key)).toMatchObject(expected);
    expect(await store.find(other)).toBeUndefined();
    const { stored, stream } = await store.read(key);
    expect(stored).toMatchObject(expected);
    expect(await textOf(stream)).toBe('content');
    expect(await textOf((await store.read(key, { start: 1, end: 3 })).stream)).toBe('ont');
    expect(await store.list(key.organizationId)).toMatchObject([expected]);
    expect(await store.list(other.organizationId)).toEqual([]);
    await expect(store.read(other)).rejects.toMatchObject({ code: 'not_found' });
  });

  test('an empty one is one too', async () => {
    await store.put(key, bodyOf(''));
    expect(await store.find(key)).toMatchObject({ size: 0 });
    expect(await textOf((await store.read(key)).stream)).toBe('');
  });

  test('whoever reads goes on with the old one when a new one is stored, or it is removed', async () => {
    const first = await store.put(key, bodyOf('old'));
    const { stream } = await store.read(key);
    const second = await store.put(key, bodyOf('new'));
    expect(second.etag).not.toBe(first.etag);
    expect(await textOf(stream)).toBe('old');
    const reading = await store.read(key);
    await store.remove(key);
    await store.remove(key);
    expect(await textOf(reading.stream)).toBe('new');
    expect(await store.find(key)).toBeUndefined();
  });

  test('a body that breaks off, or is shorter than was said, is not stored', async () => {
    const broken = Readable.from(
      (async function* () {
        yield Buffer.from('half');
        throw new Error('gone');
      })(),
    );
    await expect(store.put(key, { stream: broken, size: 8 })).rejects.toThrow('gone');
    expect(await store.find(key)).toBeUndefined();
  });

  test('parts in any order, one of them sent again, become one context', async () => {
    const id = await store.beginUpload(key);
    const three = await store.putPart(key, id, 3, bodyOf('c'));
    await store.putPart(key, id, 1, bodyOf(part('x')));
    const [one, two] = await Promise.all([
      store.putPart(key, id, 1, bodyOf(part('a'))),
      store.putPart(key, id, 2, bodyOf(part('b'))),
    ]);
    expect(await store.find(key)).toBeUndefined();
    expect(await store.listParts(key, id)).toMatchObject([
      { part: 1, etag: one.etag, size: partBytes },
      { part: 2, etag: two.etag, size: partBytes },
      { part: 3, etag: three.etag, size: 1 },
    ]);
    expect(await store.completeUpload(key, id, [one, two, three])).toMatchObject({ size: 2 * partBytes + 1 });
    // Compared here: a difference of megabytes takes minutes to show.
    expect((await textOf((await store.read(key)).stream)) === `${part('a')}${part('b')}c`).toBe(true);
    await expect(store.putPart(key, id, 1, bodyOf('x'))).rejects.toMatchObject({ code: 'not_found' });
  });

  test('an upload is its organization’s, and is completed by parts that are there', async () => {
    const id = await store.beginUpload(key);
    const one = await store.putPart(key, id, 1, bodyOf('a'));
    await expect(store.putPart(other, id, 1, bodyOf('x'))).rejects.toMatchObject({ code: 'not_found' });
    await expect(store.listParts(other, id)).rejects.toMatchObject({ code: 'not_found' });
    await expect(store.completeUpload(other, id, [one])).rejects.toMatchObject({ code: 'not_found' });
    for (const wrong of [
      { ...one, part: 2 },
      { ...one, etag: '0'.repeat(32) },
    ]) {
      await expect(store.completeUpload(key, id, [wrong])).rejects.toMatchObject({ code: 'invalid_request' });
    }
    expect(await store.completeUpload(key, id, [one])).toMatchObject({ size: 1 });
  });

  test('an upload that is aborted, once or twice, is gone', async () => {
    const id = await store.beginUpload(key);
    await store.putPart(key, id, 1, bodyOf('a'));
    await store.abortUpload(key, id);
    await store.abortUpload(key, id);
    await expect(store.putPart(key, id, 1, bodyOf('x'))).rejects.toMatchObject({ code: 'not_found' });
    expect(await store.find(key)).toBeUndefined();
  });

  test('a sweep takes old uploads, and contexts that nobody used', async () => {
    const DAY = 24 * 3600_000;
    const longAgo = new Date(0);
    const id = await store.beginUpload(key);
    await store.put(key, bodyOf('content'));
    await store.sweep(new Date(), longAgo);
    if (knowsAgeOfUploads) await store.putPart(key, id, 1, bodyOf('a'));
    expect(await store.find(key)).toBeDefined();
    await store.sweep(new Date(Date.now() + 2 * DAY), longAgo);
    await expect(store.putPart(key, id, 1, bodyOf('x'))).rejects.toMatchObject({ code: 'not_found' });
    expect(await store.find(key)).toBeDefined();
    await store.sweep(new Date(), new Date(Date.now() + DAY));
    expect(await store.find(key)).toBeUndefined();
  });
}
