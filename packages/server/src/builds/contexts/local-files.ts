import { createHash, randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { open, readdir, rename, rm, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { appendOpenFile } from '../../platform/copy-range.ts';
import { DarkroomError, errnoOf, invalidRequest, notFound } from '../../platform/errors.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { writeContextDigest } from './context-digest.ts';
import type { ContextBody, StoredPart, UploadedPart } from './context-store.ts';

/** Left free by uploads: whoever else works on the disk must not suffer from them. */
const RESERVE_BYTES = 1024 ** 3;
const RESERVE_SHARE = 0.05;

/** Writes a new file and syncs it. Leaves nothing behind when it fails. */
export async function writeNewFile(path: string, body: ContextBody): Promise<{ etag: string; size: number }> {
  await assertRoom(dirname(path), body.size);
  const md5 = createHash('md5');
  let size = 0;
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      md5.update(chunk);
      done(size > body.size ? wrongSize(body.size) : null, chunk);
    },
    flush: (done) => done(size === body.size ? null : wrongSize(body.size)),
  });
  try {
    await pipeline(body.stream, measure, createWriteStream(path, { flags: 'wx', mode: 0o600, flush: true }));
  } catch (error) {
    await rm(path, { force: true });
    throw diskError(error);
  }
  const etag = md5.digest('hex');
  writeContextDigest(path, [{ size, md5: etag }]);
  return { etag, size };
}

/** Each is a file `NUMBER.ETAG` of the upload's directory. */
export async function writePart(folder: string, part: number, body: ContextBody): Promise<StoredPart> {
  const draft = join(folder, `${randomUUID()}.draft`);
  const { etag, size } = await writeNewFile(draft, body);
  await rename(draft, join(folder, partName(part, etag)));
  await failpoint('upload.part-written');
  for (const name of await readdir(folder)) {
    if (name.startsWith(`${part}.`) && name !== partName(part, etag)) await rm(join(folder, name), { force: true });
  }
  return { part, etag, size, modifiedAt: new Date() };
}

export async function readParts(folder: string): Promise<StoredPart[]> {
  const parts = (await readdir(folder)).flatMap((name) => {
    const [, part, etag] = /^(\d+)\.([0-9a-f]{32})$/.exec(name) ?? [];
    return part === undefined || etag === undefined ? [] : [{ part: Number(part), etag, path: join(folder, name) }];
  });
  const found = await Promise.all(
    parts.map(async ({ part, etag, path }) => {
      // Replaced meanwhile.
      const file = await stat(path).catch(() => undefined);
      return file === undefined ? [] : [{ part, etag, size: file.size, modifiedAt: file.mtime }];
    }),
  );
  return found.flat().sort((a, b) => a.part - b.part);
}

/** All of these parts as one new file, synced. */
export async function joinParts(folder: string, parts: readonly UploadedPart[], path: string): Promise<void> {
  const there = new Map((await readParts(folder)).map((stored) => [partName(stored.part, stored.etag), stored]));
  if (parts.length === 0) throw invalidRequest('An upload is completed with at least one part');
  const files = parts.map(({ part, etag }) => {
    const stored = there.get(partName(part, etag));
    if (stored === undefined) throw invalidRequest(`Part ${part} was not found, or its ETag is another`);
    return { path: join(folder, partName(part, etag)), size: stored.size, md5: stored.etag };
  });
  const target = await open(path, 'wx', 0o600);
  try {
    for (const file of files) {
      const source = await open(file.path, 'r');
      try {
        await appendOpenFile(source.fd, target.fd);
      } finally {
        await source.close();
      }
    }
    writeContextDigest(
      path,
      files.map(({ size, md5 }) => ({ size, md5 })),
    );
    await target.sync();
  } catch (error) {
    await rm(path, { force: true });
    throw diskError(error);
  } finally {
    await target.close();
  }
}

async function assertRoom(directory: string, size: number): Promise<void> {
  const { bavail, blocks, bsize } = await statfs(directory);
  const reserve = Math.min(RESERVE_BYTES, blocks * bsize * RESERVE_SHARE);
  if (bavail * bsize - reserve < size) throw noRoom();
}

function diskError(error: unknown): unknown {
  const code = errnoOf(error);
  return code === 'ENOSPC' || code === 'EDQUOT' ? noRoom(error) : error;
}

const partName = (part: number, etag: string) => `${part}.${etag}`;
const noRoom = (cause?: unknown) =>
  new DarkroomError('insufficient_storage', 'No space is left to store the context', { cause });
const wrongSize = (size: number) => invalidRequest(`The body does not have the ${size} bytes that were announced`);
export const noUpload = (uploadId: string) => notFound(`There is no upload ${uploadId.slice(0, 80)}`);
