import type { Kysely } from 'kysely';
import { LRUCache } from 'lru-cache';
import type { Database } from '../platform/db/schema.ts';
import { hashKey, looksLikeKey } from './api-key.ts';
import type { AuthContext } from './auth-context.ts';

/** A deleted key may still work on *another* server for this long; on the one that deleted it, it ends at once. */
const CACHE_MS = 5_000;
const MAX_CACHED = 10_000;
const LAST_USED_INTERVAL_MS = 60_000;

interface CachedKey {
  context: AuthContext;
  expiresAtMs: number;
}

export interface KeyVerifier {
  /** The key's context, or undefined for a malformed, unknown or expired one. Asks the database only when it has not lately. */
  verify(value: string): Promise<AuthContext | undefined>;
  /** Ends the cached life of a deleted key. */
  forget(keyId: string): void;
  /** Waits for the writes that are under way. */
  close(): Promise<void>;
}

export interface KeyVerifierDeps {
  db: Kysely<Database>;
  /** Told of failed background writes. */
  onError: (error: unknown) => void;
}

export function createKeyVerifier({ db, onError }: KeyVerifierDeps): KeyVerifier {
  const known = new LRUCache<string, CachedKey>({ max: MAX_CACHED, ttl: CACHE_MS });
  const unknown = new LRUCache<string, true>({ max: MAX_CACHED, ttl: CACHE_MS });
  const lastUsedWritten = new LRUCache<string, true>({ max: MAX_CACHED, ttl: LAST_USED_INTERVAL_MS });
  const forgotten = new LRUCache<string, true>({ max: MAX_CACHED, ttl: CACHE_MS });
  const writes = new Set<Promise<void>>();

  function noteUse(keyId: string): void {
    if (lastUsedWritten.has(keyId)) return;
    lastUsedWritten.set(keyId, true);
    const write = db
      .updateTable('api_keys')
      .set({ last_used_at: new Date() })
      .where('id', '=', keyId)
      .execute()
      .then(() => undefined, onError)
      .finally(() => writes.delete(write));
    writes.add(write);
  }

  async function load(hash: Buffer): Promise<CachedKey | undefined> {
    const row = await db.selectFrom('api_keys').selectAll().where('hash', '=', hash).executeTakeFirst();
    if (row === undefined) return undefined;
    return {
      expiresAtMs: row.expires_at?.getTime() ?? Number.POSITIVE_INFINITY,
      context: {
        organizationId: row.organization_id,
        userId: row.user_id,
        keyId: row.id,
        permissions: new Set(row.permissions),
        isAdmin: row.is_admin,
      },
    };
  }

  return {
    async verify(value) {
      if (!looksLikeKey(value)) return undefined;
      // The caches hold hashes, so that a dump of the memory's long-lived part has no keys in it.
      const hash = hashKey(value);
      const id = hash.toString('base64');
      if (unknown.has(id)) return undefined;
      let key = known.get(id);
      if (key === undefined) {
        key = await load(hash);
        if (key === undefined || forgotten.has(key.context.keyId)) {
          unknown.set(id, true);
          return undefined;
        }
        known.set(id, key);
      }
      if (key.expiresAtMs <= Date.now()) return undefined;
      noteUse(key.context.keyId);
      return key.context;
    },
    forget(keyId) {
      // A look-up that is under way may have read the key before it was deleted: `forgotten` outlives it.
      forgotten.set(keyId, true);
      for (const [id, key] of known.entries()) if (key.context.keyId === keyId) known.delete(id);
    },
    async close() {
      await Promise.all(writes);
    },
  };
}
