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
  /** Changes with the content; says nothing else. */
  etag: string;
}

/**
 * Where contexts are kept. One becomes visible when it is whole and on disk, and never in part; storing it again replaces it,
 * and whoever reads the old one goes on reading that.
 */
export interface ContextStore {
  put(key: ContextKey, body: Readable): Promise<StoredContext>;
  find(key: ContextKey): Promise<StoredContext | undefined>;
  /** Raises `not_found` when it is not there. `start` and `end` (both count) are offsets of bytes. */
  read(key: ContextKey, range?: { start: number; end: number }): Promise<{ stored: StoredContext; stream: Readable }>;
  list(organizationId: string): Promise<StoredContext[]>;
  /** An upload in parts, which may come in any order and at the same time. */
  beginUpload(key: ContextKey): Promise<string>;
  /** Replaces an earlier part of the number. Raises `not_found` when there is no such upload. */
  putPart(key: ContextKey, uploadId: string, part: number, body: Readable): Promise<{ etag: string; size: number }>;
  /** Raises `invalid_request` with the first part that is not there or not the one that is meant. */
  completeUpload(key: ContextKey, uploadId: string, parts: readonly UploadedPart[]): Promise<StoredContext>;
  /** Idempotent. */
  abortUpload(key: ContextKey, uploadId: string): Promise<void>;
  /** Takes away uploads that nobody has added to for a day. */
  sweep(now: Date): Promise<number>;
}

export interface UploadedPart {
  part: number;
  etag: string;
}
