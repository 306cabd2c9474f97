import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { DarkroomError, errnoOf, invalidRequest, notFound } from '../../platform/errors.ts';
import { syncDirectory } from '../../platform/sync-directory.ts';
import type { ContextKey, ContextStore, StoredContext, UploadedPart } from './context-store.ts';

export interface LocalContextStoreOptions {
  directory: string;
  /** Of one context. */
  maxBytes: number;
}

/** As in S3; parts are numbered from 1. */
const MAX_PARTS = 10_000;
const UPLOAD_MS = 24 * 3600_000;
const SAFE = /^[0-9a-zA-Z-]{1,64}$/;

/**
 * `contexts/ORGANIZATION/HASH.tar` and `uploads/ID/PART` below one directory. A file is written under another name, synced, and
 * renamed; what a crash leaves in `uploads` is swept.
 */
export async function createLocalContextStore(options: LocalContextStoreOptions): Promise<ContextStore> {
  const contexts = join(options.directory, 'contexts');
  const uploads = join(options.directory, 'uploads');
  await mkdir(contexts, { recursive: true, mode: 0o700 });
  await mkdir(uploads, { recursive: true, mode: 0o700 });

  const folderOf = ({ organizationId }: Pick<ContextKey, 'organizationId'>) => join(contexts, safe(organizationId));
  const pathOf = (key: ContextKey) => join(folderOf(key), `${safe(key.hash)}.tar`);
  /** An upload belongs to its key: another organization's id finds nothing. */
  const uploadOf = (key: ContextKey, uploadId: string) =>
    join(uploads, `${safe(uploadId)}.${safe(key.organizationId)}.${safe(key.hash)}`);

  async function find(key: ContextKey): Promise<StoredContext | undefined> {
    try {
      const { size, mtime, mtimeMs, ino } = await stat(pathOf(key));
      const etag = createHash('md5').update(`${ino} ${size} ${mtimeMs}`).digest('hex');
      return { ...key, size, modifiedAt: mtime, etag };
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Writes beside the place and renames, so that nobody sees a half. */
  async function store(key: ContextKey, write: (draft: string) => Promise<unknown>): Promise<StoredContext> {
    const path = pathOf(key);
    await mkdir(folderOf(key), { recursive: true, mode: 0o700 });
    const draft = join(uploads, `${randomUUID()}.draft`);
    try {
      await write(draft);
      await rename(draft, path);
      await syncDirectory(folderOf(key));
    } catch (error) {
      await rm(draft, { force: true });
      throw diskError(error);
    }
    const stored = await find(key);
    if (stored === undefined)
      throw new DarkroomError('internal', `the context ${key.hash} vanished when it was stored`);
    return stored;
  }

  return {
    find,
    put: (key, body) => store(key, (draft) => writeFile(draft, body, options.maxBytes)),
    async read(key, range) {
      const stored = await find(key);
      if (stored === undefined) throw notFound(`There is no context ${key.hash}`);
      return { stored, stream: createReadStream(pathOf(key), range) };
    },
    async list(organizationId) {
      const names = await readdir(folderOf({ organizationId })).catch(emptyWhenMissing);
      const found = await Promise.all(
        names.filter((name) => name.endsWith('.tar')).map((name) => find({ organizationId, hash: name.slice(0, -4) })),
      );
      return found.filter((stored) => stored !== undefined).sort((a, b) => (a.hash < b.hash ? -1 : 1));
    },
    async beginUpload(key) {
      const uploadId = randomUUID();
      await mkdir(uploadOf(key, uploadId), { mode: 0o700 });
      return uploadId;
    },
    async putPart(key, uploadId, part, body) {
      if (!Number.isInteger(part) || part < 1 || part > MAX_PARTS) {
        throw invalidRequest(`Part number must be an integer between 1 and ${MAX_PARTS}`);
      }
      const folder = uploadOf(key, uploadId);
      const draft = join(folder, `${randomUUID()}.draft`);
      try {
        const written = await writeFile(draft, body, options.maxBytes);
        await rename(draft, join(folder, partName(part, written.etag)));
        await removeOthers(folder, part, written.etag);
        return written;
      } catch (error) {
        await rm(draft, { force: true }).catch(() => {});
        if (errnoOf(error) === 'ENOENT') throw noUpload(uploadId);
        throw diskError(error);
      }
    },
    async completeUpload(key, uploadId, parts) {
      const folder = uploadOf(key, uploadId);
      const files = await partFiles(folder, uploadId, parts);
      const stored = await store(key, (draft) => concatenate(files, draft, options.maxBytes));
      await rm(folder, { recursive: true, force: true });
      return stored;
    },
    abortUpload: async (key, uploadId) => rm(uploadOf(key, uploadId), { recursive: true, force: true }),
    async sweep(now) {
      let swept = 0;
      for (const name of await readdir(uploads)) {
        const path = join(uploads, name);
        const changed = await stat(path).catch(() => undefined);
        if (changed === undefined || now.getTime() - changed.mtimeMs < UPLOAD_MS) continue;
        await rm(path, { recursive: true, force: true });
        swept += 1;
      }
      return swept;
    },
  };
}

/** An id of the database or a hash: it becomes a file's name. */
function safe(name: string): string {
  if (SAFE.test(name)) return name;
  throw invalidRequest(`${JSON.stringify(name.slice(0, 80))} cannot be part of the name of a context`);
}

async function writeFile(path: string, body: Readable, maxBytes: number): Promise<{ etag: string; size: number }> {
  const md5 = createHash('md5');
  let size = 0;
  const measure = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      md5.update(chunk);
      if (size > maxBytes) done(tooLarge(maxBytes));
      else done(null, chunk);
    },
  });
  await pipeline(body, measure, createWriteStream(path, { flags: 'wx', mode: 0o600, flush: true }));
  return { etag: md5.digest('hex'), size };
}

const partName = (part: number, etag: string) => `${part}.${etag}`;

async function removeOthers(folder: string, part: number, etag: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.startsWith(`${part}.`) && name !== partName(part, etag)) await rm(join(folder, name), { force: true });
  }
}

async function partFiles(folder: string, uploadId: string, parts: readonly UploadedPart[]): Promise<string[]> {
  const names = new Set(
    await readdir(folder).catch((error: unknown) => {
      throw errnoOf(error) === 'ENOENT' ? noUpload(uploadId) : error;
    }),
  );
  if (parts.length === 0) throw invalidRequest('An upload is completed with at least one part');
  return parts.map(({ part, etag }, index) => {
    const before = parts[index - 1];
    if (before !== undefined && before.part >= part)
      throw invalidRequest('The list of parts was not in ascending order');
    const name = partName(part, etag);
    if (!names.has(name)) throw invalidRequest(`Part ${part} was not found, or its ETag is another`);
    return join(folder, name);
  });
}

async function concatenate(files: readonly string[], draft: string, maxBytes: number): Promise<void> {
  const target = await open(draft, 'wx', 0o600);
  try {
    let size = 0;
    for (const file of files) {
      for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
        const bytes: Buffer = chunk;
        size += bytes.length;
        if (size > maxBytes) throw tooLarge(maxBytes);
        await target.writeFile(bytes);
      }
    }
    await target.sync();
  } finally {
    await target.close();
  }
}

function diskError(error: unknown): unknown {
  const code = errnoOf(error);
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return new DarkroomError('insufficient_storage', 'No space is left to store the context', { cause: error });
}

const tooLarge = (maxBytes: number) =>
  new DarkroomError('payload_too_large', `A context may have at most ${maxBytes} bytes`, {
    hint: 'Leave out what the build does not need, by .dockerignore or by adding smaller directories.',
  });
const noUpload = (uploadId: string) => notFound(`There is no upload ${uploadId.slice(0, 80)}`);

function emptyWhenMissing(error: unknown): string[] {
  if (errnoOf(error) === 'ENOENT') return [];
  throw error;
}
