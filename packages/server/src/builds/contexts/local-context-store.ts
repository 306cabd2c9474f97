import { createHash, randomUUID } from 'node:crypto';
import { createReadStream, type Stats } from 'node:fs';
import { access, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { DarkroomError, errnoOf, invalidRequest, notFound, undefinedIfMissing } from '../../platform/errors.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { getXattr, setXattr } from '../../platform/libc.ts';
import { syncDirectory } from '../../platform/sync-directory.ts';
import type { ContextKey, ContextStore, StoredContext, UnusedUpload } from './context-store.ts';
import { joinParts, noUpload, readParts, writeNewFile, writePart } from './local-files.ts';

/** As in S3; parts are numbered from 1. */
const MAX_PARTS = 10_000;
const UPLOAD_MS = 24 * 3600_000;
const USE_NOTED_MS = 3600_000;
const SAFE = /^[0-9a-zA-Z-]{1,64}$/;

/**
 * `stored/ORGANIZATION/HASH.tar` and `uploads/ID.ORGANIZATION.HASH/PART` below one directory. A file is written under another
 * name, synced, and renamed; what a crash leaves in `uploads` is swept. One server at a time works on it.
 */
export async function createLocalContextStore(directory: string): Promise<ContextStore> {
  const contexts = join(directory, 'stored');
  const uploads = join(directory, 'uploads');
  await mkdir(contexts, { recursive: true, mode: 0o700 });
  await mkdir(uploads, { recursive: true, mode: 0o700 });
  await removeDrafts(uploads);

  const folderOf = ({ organizationId }: Pick<ContextKey, 'organizationId'>) => join(contexts, safe(organizationId));
  const pathOf = (key: ContextKey) => join(folderOf(key), `${safe(key.hash)}.tar`);
  /** An upload belongs to its key: another organization's id finds nothing. */
  const uploadOf = (key: ContextKey, uploadId: string) =>
    join(uploads, `${safe(uploadId)}.${safe(key.organizationId)}.${safe(key.hash)}`);

  async function look(key: ContextKey): Promise<StoredContext | undefined> {
    const file = await stat(pathOf(key)).catch(undefinedIfMissing);
    return file && storedOf(key, file);
  }

  async function list(organizationId: string): Promise<StoredContext[]> {
    const names = (await readdir(folderOf({ organizationId })).catch(undefinedIfMissing)) ?? [];
    const found = await Promise.all(
      names.filter((name) => name.endsWith('.tar')).map((name) => look({ organizationId, hash: name.slice(0, -4) })),
    );
    return found.filter((stored) => stored !== undefined).sort((a, b) => (a.hash < b.hash ? -1 : 1));
  }

  async function listUnused(now: Date, unusedSince: Date): Promise<UnusedUpload[]> {
    const unused: UnusedUpload[] = [];
    for (const name of await readdir(uploads)) {
      const changed = await stat(join(uploads, name)).catch(() => undefined);
      if (changed === undefined || now.getTime() - changed.mtimeMs < UPLOAD_MS) continue;
      const [, organizationId] = name.split('.');
      const size = await bytesIn(join(uploads, name)).catch(() => undefined);
      unused.push({ kind: 'upload', id: name, organizationId, size, since: changed.mtime });
    }
    for (const organizationId of await readdir(contexts)) {
      for (const { hash, size, usedAt } of await list(organizationId)) {
        if (usedAt < unusedSince) unused.push({ kind: 'context', id: hash, organizationId, size, since: usedAt });
      }
    }
    return unused;
  }

  async function noteUse(stored: StoredContext): Promise<StoredContext> {
    const now = new Date();
    if (now.getTime() - stored.usedAt.getTime() < USE_NOTED_MS) return stored;
    // Whole seconds, as it was stored: the tag must stay the same.
    await utimes(pathOf(stored), now, stored.modifiedAt).catch(() => {});
    return { ...stored, usedAt: now };
  }

  /** Writes beside the place and renames, so that nobody sees a half. */
  async function store(key: ContextKey, write: (draft: string) => Promise<unknown>): Promise<StoredContext> {
    const path = pathOf(key);
    await mkdir(folderOf(key), { recursive: true, mode: 0o700 });
    const draft = join(uploads, `${randomUUID()}.draft`);
    try {
      await write(draft);
      const seconds = Math.floor(Date.now() / 1000);
      await utimes(draft, seconds, seconds);
      await failpoint('upload.spooled');
      await rename(draft, path);
      await failpoint('upload.renamed');
      await syncDirectory(folderOf(key));
      await failpoint('upload.stored');
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
    return lookAgain(key);
  }

  async function lookAgain(key: ContextKey): Promise<StoredContext> {
    const stored = await look(key);
    if (stored === undefined)
      throw new DarkroomError('internal', `the context ${key.hash} vanished when it was stored`);
    return stored;
  }

  async function existing(key: ContextKey, uploadId: string): Promise<string> {
    const folder = uploadOf(key, uploadId);
    await access(folder).catch(() => {
      throw noUpload(uploadId);
    });
    return folder;
  }

  return {
    async find(key) {
      const stored = await look(key);
      return stored && (await noteUse(stored));
    },
    put: (key, body) => store(key, (draft) => writeNewFile(draft, body)),
    async read(key, range) {
      const file = await open(pathOf(key)).catch(undefinedIfMissing);
      if (file === undefined) throw notFound(`There is no context ${key.hash}`);
      try {
        const stored = await noteUse(storedOf(key, await file.stat()));
        return { stored, stream: createReadStream('', { fd: file, ...range }) };
      } catch (error) {
        await file.close();
        throw error;
      }
    },
    list,
    remove: (key) => rm(pathOf(key), { force: true }),
    async beginUpload(key) {
      const uploadId = randomUUID();
      await mkdir(uploadOf(key, uploadId), { mode: 0o700 });
      return uploadId;
    },
    async putPart(key, uploadId, part, body) {
      if (!Number.isInteger(part) || part < 1 || part > MAX_PARTS) {
        throw invalidRequest(`Part number must be an integer between 1 and ${MAX_PARTS}`);
      }
      const folder = await existing(key, uploadId);
      // Aborted in the middle.
      return await writePart(folder, part, body).catch((error: unknown) => {
        throw errnoOf(error) === 'ENOENT' ? noUpload(uploadId) : error;
      });
    },
    listParts: async (key, uploadId) => readParts(await existing(key, uploadId)),
    async completeUpload(key, uploadId, parts) {
      const folder = await existing(key, uploadId).catch(async (error: unknown) => {
        if (madeBy(pathOf(key)) === uploadId) return undefined;
        throw error;
      });
      if (folder === undefined) return lookAgain(key);
      const stored = await store(key, async (draft) => {
        await joinParts(folder, parts, draft);
        noteMaker(draft, uploadId);
      });
      await failpoint('upload.joined');
      await rm(folder, { recursive: true, force: true });
      await failpoint('upload.completed');
      return stored;
    },
    abortUpload: async (key, uploadId) => rm(uploadOf(key, uploadId), { recursive: true, force: true, maxRetries: 3 }),
    listUnused,
    async sweep(now, unusedSince) {
      const swept: UnusedUpload[] = [];
      for (const unused of await listUnused(now, unusedSince)) {
        const { kind, id, organizationId = '' } = unused;
        const path = kind === 'upload' ? join(uploads, id) : pathOf({ organizationId, hash: id });
        // Asked again for each: removing the one before took time.
        const isUsed = kind === 'context' && ((await look({ organizationId, hash: id }))?.usedAt ?? now) >= unusedSince;
        if (isUsed) continue;
        await rm(path, { recursive: true, force: true });
        swept.push(unused);
      }
      return swept;
    },
  };
}

function storedOf(key: ContextKey, { size, mtime, atime, ino }: Stats): StoredContext {
  const etag = createHash('md5').update(`${ino} ${size} ${mtime.getTime()}`).digest('hex');
  return { ...key, size, modifiedAt: mtime, usedAt: atime > mtime ? atime : mtime, etag };
}

/** Of an upload's parts, or of a draft. */
async function bytesIn(path: string): Promise<number> {
  const parts = (await readdir(path).catch(() => [])).map((name) => join(path, name));
  const found = await Promise.all((parts.length === 0 ? [path] : parts).map((part) => stat(part)));
  return found.reduce((total, file) => total + (file.isFile() ? file.size : 0), 0);
}

const MADE_BY = 'user.darkroom.upload';

/** Who was not answered when the server was killed completes again, and is told the same. */
function noteMaker(draft: string, uploadId: string): void {
  try {
    setXattr(draft, MADE_BY, Buffer.from(uploadId));
  } catch {
    // A file system without such attributes: that client is told that there is no upload, and sends it again.
  }
}

function madeBy(path: string): string | undefined {
  try {
    return getXattr(path, MADE_BY)?.toString();
  } catch {
    return undefined;
  }
}

/** Nobody writes to them any more: whoever did ended with the server before. */
async function removeDrafts(uploads: string): Promise<void> {
  for (const name of await readdir(uploads)) {
    if (name.endsWith('.draft')) await rm(join(uploads, name), { force: true });
  }
}

/** An id of the database or a hash: it becomes a file's name. */
function safe(name: string): string {
  if (SAFE.test(name)) return name;
  throw invalidRequest(`${JSON.stringify(name.slice(0, 80))} cannot be part of the name of a context`);
}
