import { DarkroomError, notFound } from '../../platform/errors.ts';
import type { ContextKey, ContextStore, StoredContext } from './context-store.ts';
import { costOf, createUsage } from './usage.ts';

export interface ContextLimits {
  /** Of one context. */
  maxBytes: number;
  /** Of all contexts of an organization, uploads under way among them. */
  maxTotalBytes: number;
}

/** One upload in parts, as far as it has come. */
interface Upload {
  key: ContextKey;
  parts: Map<number, number>;
  /** Bytes of parts that are being written. */
  coming: number;
  touchedAt: number;
}

/** After this nothing is left of one that nobody adds to. */
const FORGOTTEN_MS = 25 * 3600_000;
const MAX_UPLOADS = 1000;

/**
 * Holds a store to its limits before bytes are taken. Where an organization has too much, its contexts that were not used for the
 * longest time make way; clients upload them again when they need them. Raises `payload_too_large` and `quota_exceeded`.
 */
export function boundedContextStore(store: ContextStore, limits: ContextLimits): ContextStore {
  const usage = createUsage(store, { maxBytes: limits.maxTotalBytes, refuse: () => overQuota(limits.maxTotalBytes) });
  const uploads = new Map<string, Upload>();

  /** An upload that an earlier server began is looked up in the store. */
  async function uploadOf(key: ContextKey, uploadId: string): Promise<Upload> {
    const stored = uploads.has(uploadId) ? [] : await store.listParts(key, uploadId);
    const known = uploads.get(uploadId);
    if (known !== undefined) {
      assertSame(known.key, key);
      return Object.assign(known, { touchedAt: Date.now() });
    }
    const upload = remember(key, uploadId);
    for (const { part, size } of stored) upload.parts.set(part, size);
    usage.giveBack(key.organizationId, -bytesOf(upload));
    return upload;
  }

  function remember(key: ContextKey, uploadId: string): Upload {
    const upload = { key, parts: new Map(), coming: 0, touchedAt: Date.now() };
    uploads.set(uploadId, upload);
    return upload;
  }

  function forget(uploadId: string): void {
    const upload = uploads.get(uploadId);
    if (upload === undefined) return;
    uploads.delete(uploadId);
    usage.giveBack(upload.key.organizationId, bytesOf(upload));
  }

  async function replacing(key: ContextKey, work: () => Promise<StoredContext>): Promise<StoredContext> {
    const before = await store.find(key);
    const stored = await work();
    usage.changed(key.organizationId, costOf(stored) - costOf(before));
    return stored;
  }

  return {
    ...store,
    async put(key, body) {
      const { organizationId } = key;
      if (body.size > limits.maxBytes) throw tooLarge(limits.maxBytes);
      await usage.reserve(organizationId, body.size);
      try {
        return await replacing(key, () => store.put(key, body));
      } finally {
        usage.giveBack(organizationId, body.size);
      }
    },
    async beginUpload(key) {
      const open = [...uploads.values()].filter((upload) => upload.key.organizationId === key.organizationId);
      if (open.length >= MAX_UPLOADS) throw tooManyUploads();
      const uploadId = await store.beginUpload(key);
      remember(key, uploadId);
      return uploadId;
    },
    async putPart(key, uploadId, part, body) {
      const { organizationId } = key;
      const { size } = body;
      const upload = await uploadOf(key, uploadId);
      const replaced = upload.parts.get(part) ?? 0;
      if (bytesOf(upload) + upload.coming - replaced + size > limits.maxBytes) throw tooLarge(limits.maxBytes);
      // Counts at once, so that parts that come at the same time see each other.
      upload.coming += size;
      let held = 0;
      try {
        await usage.reserve(organizationId, size);
        held = size;
        const stored = await store.putPart(key, uploadId, part, body);
        if (uploads.get(uploadId) === upload) {
          held = upload.parts.get(part) ?? 0;
          upload.parts.set(part, size);
        }
        return stored;
      } finally {
        upload.coming -= size;
        usage.giveBack(organizationId, held);
      }
    },
    async completeUpload(key, uploadId, parts) {
      const isOpen = uploads.has(uploadId);
      // One that is gone may have been completed by a server that could not say so any more: the store knows.
      await uploadOf(key, uploadId).catch((error: unknown) => {
        if (isOpen || !isNotFound(error)) throw error;
      });
      const stored = await replacing(key, () => store.completeUpload(key, uploadId, parts));
      forget(uploadId);
      return stored;
    },
    async listParts(key, uploadId) {
      await uploadOf(key, uploadId);
      return store.listParts(key, uploadId);
    },
    async abortUpload(key, uploadId) {
      const known = uploads.get(uploadId);
      if (known !== undefined) assertSame(known.key, key);
      await store.abortUpload(key, uploadId);
      forget(uploadId);
    },
    async remove(key) {
      await store.remove(key);
      usage.lookAgain();
    },
    async sweep(now, unusedSince) {
      const swept = await store.sweep(now, unusedSince);
      for (const [uploadId, { touchedAt }] of uploads) {
        if (now.getTime() - touchedAt > FORGOTTEN_MS) forget(uploadId);
      }
      usage.lookAgain();
      return swept;
    },
  };
}

/** Not every store looks whether an upload is for the name that it is asked with. */
function assertSame(one: ContextKey, other: ContextKey): void {
  if (one.organizationId !== other.organizationId || one.hash !== other.hash) throw notFound('There is no such upload');
}

const isNotFound = (error: unknown) => error instanceof DarkroomError && error.code === 'not_found';

const bytesOf = ({ parts }: Upload) => [...parts.values()].reduce((total, size) => total + size, 0);

const tooLarge = (maxBytes: number) =>
  new DarkroomError('payload_too_large', `A context may have at most ${maxBytes} bytes`, {
    hint: 'Leave out what the build does not need, by .dockerignore or by adding smaller directories.',
  });
const overQuota = (maxTotalBytes: number) =>
  new DarkroomError('quota_exceeded', `The uploads of the organization may have ${maxTotalBytes} bytes together`, {
    hint: 'Those that no build used for a day make way by themselves.',
  });
const tooManyUploads = () =>
  new DarkroomError(
    'quota_exceeded',
    `The organization has ${MAX_UPLOADS} uploads that are neither completed nor aborted`,
    {
      hint: 'What nobody adds to for a day is taken away.',
    },
  );
