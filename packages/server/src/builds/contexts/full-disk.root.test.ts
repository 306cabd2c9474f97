import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../../platform/process.ts';
import { createLocalContextStore } from './local-context-store.ts';

const MIB = 1024 * 1024;
const key = { organizationId: '2f6e0d0e-0000-4000-8000-000000000001', hash: 'a'.repeat(32) };
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-full-'));
  await run('mount', ['-t', 'tmpfs', '-o', 'size=20m', 'darkroom-full', directory], { timeoutMs: 10_000 });
});
afterEach(async () => {
  await run('umount', ['--lazy', directory], { timeoutMs: 10_000 });
  await rm(directory, { recursive: true, force: true });
});

/** `onHalf` is called when half of it has been taken. */
function bodyOf(size: number, onHalf: () => Promise<void> = async () => {}) {
  const stream = Readable.from(
    (async function* () {
      for (let sent = 0; sent < size; sent += MIB) {
        if (sent === size / 2) await onHalf();
        yield randomBytes(MIB);
      }
    })(),
  );
  return { stream, size };
}

test('what would not leave others some room is refused before it is taken', async () => {
  const store = await createLocalContextStore(directory);
  const large = bodyOf(20 * MIB);
  await expect(store.put(key, large)).rejects.toMatchObject({ code: 'insufficient_storage' });
  expect(large.stream.readableDidRead).toBe(false);
});

test('a disk that fills up in the middle fails the upload, keeps what was there, and is over when there is room', async () => {
  const store = await createLocalContextStore(directory);
  const before = await store.put(key, bodyOf(2 * MIB));
  const filler = join(directory, 'filler');
  const fill = () => run('dd', ['if=/dev/zero', `of=${filler}`, 'bs=1M'], { timeoutMs: 30_000, okCodes: [0, 1] });
  const failure = store.put(
    key,
    bodyOf(8 * MIB, async () => void (await fill())),
  );
  await expect(failure).rejects.toMatchObject({ code: 'insufficient_storage' });
  expect(await readdir(join(directory, 'uploads'))).toEqual([]);
  expect(await store.find(key)).toMatchObject({ size: 2 * MIB, etag: before.etag });

  await writeFile(filler, '');
  expect(await store.put(key, bodyOf(8 * MIB))).toMatchObject({ size: 8 * MIB });
});
