import { createHash, randomUUID } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { abortable } from '../../images/registry/deadline.ts';
import { createSharedRuns } from '../../images/shared-runs.ts';
import { conflict, DarkroomError, invalidRequest, notFound } from '../../platform/errors.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { run } from '../../platform/process.ts';
import type { BuildFiles } from '../files/build-files.ts';
import type { SourceTree } from '../files/transfer-types.ts';
import type { ContextStore, StoredContext } from './context-store.ts';
import { ignoreTextIn } from './ignore-text.ts';

/** The contexts of a build as one tree of files. It stays until it is released. */
export interface ContextTree {
  /** For `BuildFiles`; open, with the rules of its `.dockerignore`. */
  source: SourceTree;
  /** Where it is, for a bind mount; nobody may write there. */
  directory: string;
  sizeBytes: number;
  entries: number;
  /** Idempotent. */
  release(): void;
}

export interface ContextTrees {
  /**
   * The tree of these contexts; of two with the same name the later one wins. Made once for all builds that ask for the same, and kept for
   * the next one. Raises `not_found` for a hash that the organization has not uploaded, `invalid_request` and `payload_too_large` for
   * contexts that cannot be unpacked.
   */
  acquire(organizationId: string, hashes: readonly string[], signal: AbortSignal): Promise<ContextTree>;
  /** Removes trees that nobody has held for `idleMs`. Answers how many. */
  sweep(idleMs: number): Promise<number>;
  list(): { key: string; sizeBytes: number; isHeld: boolean; usedAt: number }[];
}

export interface ContextTreesOptions {
  /** On the pool, so that large files need no copy. What an earlier server left in it is removed. */
  directory: string;
  store: Pick<ContextStore, 'find' | 'read'>;
  files: Pick<BuildFiles, 'merge'>;
  /** Of the files of one build. */
  maxBytes: number;
  now?: () => number;
}

interface MergedTree {
  key: string;
  path: string;
  sizeBytes: number;
  entries: number;
  ignore: string | undefined;
  holders: number;
  usedAt: number;
}

const REMOVE_MS = 30 * 60_000;
/** More come from no client. */
const MAX_CONTEXTS = 10_000;
const MAX_ATTEMPTS = 5;

export async function openContextTrees(options: ContextTreesOptions): Promise<ContextTrees> {
  const { directory, store, files, maxBytes, now = Date.now } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  // Nothing here is synced, so after a crash nothing here is believed.
  for (const name of await readdir(directory)) await remove(join(directory, name));
  const trees = new Map<string, MergedTree>();
  const merges = createSharedRuns<MergedTree>();

  async function findAll(organizationId: string, hashes: readonly string[], signal: AbortSignal) {
    if (hashes.length > MAX_CONTEXTS) throw invalidRequest(`a build has at most ${MAX_CONTEXTS} contexts`);
    // Of a hash that comes twice the later place counts.
    const wanted = [...new Set(hashes.toReversed())].toReversed();
    const found: StoredContext[] = [];
    for (const hash of wanted) {
      const stored = await abortable(store.find({ organizationId, hash }), signal);
      if (stored === undefined) {
        throw notFound(`the context ${hash} was not found`, { hint: 'Upload the files of the build again.' });
      }
      found.push(stored);
    }
    return found;
  }

  async function merge(key: string, contexts: readonly StoredContext[], signal: AbortSignal): Promise<MergedTree> {
    const draft = join(directory, `draft-${randomUUID()}`);
    const path = join(directory, key);
    await mkdir(draft, { mode: 0o700 });
    try {
      const open = async (index: number) => {
        const expected = contexts[index];
        if (expected === undefined) throw new Error(`there is no context ${index}`);
        const { stored, stream } = await store.read(expected);
        if (stored.etag === expected.etag) return stream;
        stream.destroy();
        throw conflict(`the context ${expected.hash} was uploaded again meanwhile`, { retryable: true });
      };
      const names = contexts.map(({ hash }) => hash);
      const merged = await files.merge({ directory: draft, maxBytes, names }, open, signal);
      const ignore = await ignoreTextIn(join(draft, 'tree'));
      await rename(draft, path);
      await failpoint('build.context-merged');
      const tree = { key, path, ...merged, ignore, holders: 0, usedAt: now() };
      trees.set(key, tree);
      return tree;
    } catch (error) {
      await remove(draft).catch(() => {});
      throw error;
    }
  }

  function hold(tree: MergedTree): ContextTree {
    const root = join(tree.path, 'tree');
    const descriptor = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
    tree.holders += 1;
    let held = true;
    return {
      source: {
        directory: descriptor,
        what: 'the build’s context',
        ignore: tree.ignore,
        digestFile: join(tree.path, 'digests.json'),
        identity: `context ${tree.key}`,
      },
      directory: root,
      sizeBytes: tree.sizeBytes,
      entries: tree.entries,
      release() {
        if (!held) return;
        held = false;
        closeSync(descriptor);
        tree.holders -= 1;
        tree.usedAt = now();
      },
    };
  }

  async function acquire(organizationId: string, hashes: readonly string[], signal: AbortSignal): Promise<ContextTree> {
    const contexts = await findAll(organizationId, hashes, signal);
    const parts = [organizationId, ...contexts.map(({ hash, etag }) => [hash, etag])];
    const key = createHash('sha256').update(JSON.stringify(parts)).digest('hex');
    for (;;) {
      const known = trees.get(key);
      if (known !== undefined) return hold(known);
      await merges.join(key, (shared) => merge(key, contexts, shared), { signal, onReport: () => {} });
    }
  }

  return {
    async acquire(organizationId, hashes, signal) {
      for (let attempt = 1; ; attempt += 1) {
        try {
          return await acquire(organizationId, hashes, signal);
        } catch (error) {
          // Clients that build the same at the same time upload the same, the later one over the earlier.
          const again = error instanceof DarkroomError && error.code === 'conflict' && attempt < MAX_ATTEMPTS;
          if (!again) throw error;
        }
      }
    },
    list: () =>
      [...trees.values()].map(({ key, sizeBytes, holders, usedAt }) => ({
        key,
        sizeBytes,
        isHeld: holders > 0,
        usedAt,
      })),
    async sweep(idleMs) {
      const idle = [...trees.values()].filter(({ holders, usedAt }) => holders === 0 && now() - usedAt >= idleMs);
      for (const { key } of idle) trees.delete(key);
      for (const { path } of idle) {
        // Out of the way first: the same contexts may be merged again at once.
        const discarded = join(directory, `discarded-${randomUUID()}`);
        await rename(path, discarded);
        await remove(discarded);
      }
      return idle.length;
    },
  };
}

/** With a tool, because names may be any bytes and trees of any depth. */
async function remove(path: string): Promise<void> {
  await run('rm', ['-rf', '--one-file-system', '--', path], { timeoutMs: REMOVE_MS });
}
