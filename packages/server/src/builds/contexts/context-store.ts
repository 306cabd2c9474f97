import type { Readable } from 'node:stream';

/** What a client uploads for COPY and ADD: a tar, named by the organization and the client's hash of it. */
export interface ContextKey {
  organizationId: string;
  /** Opaque: clients compute it in different ways. 32 or 64 hexadecimal digits. */
  hash: string;
}

export interface StoredContext extends ContextKey {
  size: number;
  modifiedAt: Date;
  /** When it was last asked for, to an hour; where the store cannot know, `modifiedAt`. */
  usedAt: Date;
  /** Changes with the content; says nothing else. */
  etag: string;
}

/** The stream must end with exactly `size` bytes; what ends in another way is not stored. */
export interface ContextBody {
  stream: Readable;
  size: number;
}

/**
 * Where contexts are kept. One becomes visible when it is whole and on disk, and never in part; storing it again replaces it,
 * and whoever reads the old one goes on reading that. Raises `insufficient_storage` where there is no room.
 */
export interface ContextStore {
  put(key: ContextKey, body: ContextBody): Promise<StoredContext>;
  /** Counts as a use. */
  find(key: ContextKey): Promise<StoredContext | undefined>;
  /** Raises `not_found` when it is not there. `start` and `end` (both count) are offsets of bytes. Counts as a use. */
  read(key: ContextKey, range?: { start: number; end: number }): Promise<{ stored: StoredContext; stream: Readable }>;
  /** Sorted by hash. */
  list(organizationId: string): Promise<StoredContext[]>;
  /** Idempotent. Who reads it goes on reading. */
  remove(key: ContextKey): Promise<void>;
  /** An upload in parts, which may come in any order and at the same time. */
  beginUpload(key: ContextKey): Promise<string>;
  /** Replaces an earlier part of the number, from 1 to 10,000. Raises `not_found` when there is no such upload. */
  putPart(key: ContextKey, uploadId: string, part: number, body: ContextBody): Promise<StoredPart>;
  /** In ascending order. Raises `not_found` when there is no such upload. */
  listParts(key: ContextKey, uploadId: string): Promise<StoredPart[]>;
  /**
   * The parts must be named in ascending order. Raises `invalid_request` with the first that is not there or not the one that is
   * meant; the upload goes on then. May answer the same again when it is asked again, as long as nothing else was stored since.
   */
  completeUpload(key: ContextKey, uploadId: string, parts: readonly UploadedPart[]): Promise<StoredContext>;
  /** Idempotent. */
  abortUpload(key: ContextKey, uploadId: string): Promise<void>;
  /** Uploads that nobody has added to for a day, and contexts not used since `unusedSince`. */
  listUnused(now: Date, unusedSince: Date): Promise<UnusedUpload[]>;
  /** Takes those away, and answers what went; one that is used meanwhile stays. */
  sweep(now: Date, unusedSince: Date): Promise<UnusedUpload[]>;
}

export interface UnusedUpload {
  /** An upload that was not completed has no hash yet that counts. */
  kind: 'context' | 'upload';
  id: string;
  organizationId: string | undefined;
  size: number | undefined;
  since: Date;
}

export interface UploadedPart {
  part: number;
  etag: string;
}

export interface StoredPart extends UploadedPart {
  size: number;
  modifiedAt: Date;
}
