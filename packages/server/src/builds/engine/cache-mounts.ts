import { randomUUID } from 'node:crypto';
import { chmod, lchown, mkdir, readdir, rename, stat, statfs, utimes } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { abortable } from '../../images/registry/deadline.ts';
import { errnoOf } from '../../platform/errors.ts';
import { run } from '../../platform/process.ts';

export interface CacheMountRequest {
  /** Of organization, id and initial content; names a directory. */
  key: string;
  sharing: 'shared' | 'private' | 'locked';
  /** Of a new one, as the host counts. */
  uid: number;
  gid: number;
  mode: number;
  /** Fills a new one, in place of an empty directory of the owner and mode above. */
  fill: ((target: string) => Promise<void>) | undefined;
}

export interface HeldCacheMounts {
  /** By key. */
  directories: ReadonlyMap<string, string>;
  release(): void;
}

/** Directories of `--mount=type=cache`, kept from build to build. What a killed step left in one stays, as whoever uses a cache expects. */
export interface CacheMounts {
  /**
   * `shared` ones are used by several steps at a time; a `private` one by one, and another is made meanwhile; for a `locked` one is
   * waited. Raises the signal's reason, or what filling raises; then nothing is held.
   */
  acquire(requests: readonly CacheMountRequest[], signal: AbortSignal): Promise<HeldCacheMounts>;
  /** The disk is full: the half that was not used for longest goes, of what is not in use. Answers how many went. */
  makeRoom(): Promise<number>;
  list(): Promise<{ id: string; sizeBytes: number | undefined; isUsed: boolean; usedAt: Date }[]>;
  /** Resolves when what is too much has been removed. */
  settled(): Promise<void>;
  /** Bytes that all may have together. */
  bound(): Promise<number>;
}

export interface CacheMountOptions {
  directory: string;
  /** Of all that are not in use: those not used for longest go. */
  maxBytes: number;
  log: { warn(details: object, message: string): void };
}

interface Instance {
  key: string;
  path: string;
  users: number;
  exclusive: boolean;
  usedAt: number;
  sizeBytes: number | undefined;
  ready: Promise<void>;
}

const TOOL_MS = 30 * 60_000;
const PASSING = 'tmp-';
/** However much is allowed: layers need the rest of the file system. */
const POOL_PART = 4;

export function createCacheMounts({ directory, maxBytes, log }: CacheMountOptions): CacheMounts {
  const instances = new Map<string, Instance[]>();
  const waiting = new Map<string, PromiseWithResolvers<void>>();
  let opened: Promise<void> | undefined;
  let trimming: Promise<unknown> = Promise.resolve();

  async function open(): Promise<void> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const key of await readdir(directory)) {
      const path = join(directory, key);
      if (key.startsWith(PASSING)) inBackground(() => remove(path));
      else for (const name of await readdir(path)) await know(key, join(path, name));
    }
  }

  /** One after the other. */
  function inBackground(work: () => Promise<void>): void {
    trimming = trimming.then(work).catch((err) => log.warn({ err }, 'caches of builds were not trimmed'));
  }

  async function know(key: string, path: string): Promise<void> {
    const { mtimeMs } = await stat(path);
    const idle = { users: 0, exclusive: false, sizeBytes: undefined, ready: Promise.resolve() };
    of(key).push({ key, path, usedAt: mtimeMs, ...idle });
  }

  function of(key: string): Instance[] {
    const known = instances.get(key) ?? [];
    instances.set(key, known);
    return known;
  }

  async function take(request: CacheMountRequest, signal: AbortSignal): Promise<Instance> {
    for (;;) {
      signal.throwIfAborted();
      const isShared = request.sharing === 'shared';
      const all = of(request.key);
      const found = all.find(({ users, exclusive }) => users === 0 || (isShared && !exclusive));
      if (found === undefined && request.sharing === 'locked' && all.length > 0) {
        const turn = waiting.get(request.key) ?? Promise.withResolvers<void>();
        waiting.set(request.key, turn);
        await abortable(turn.promise, signal);
        continue;
      }
      const instance = found ?? add(request);
      instance.users += 1;
      instance.exclusive = !isShared;
      try {
        await abortable(instance.ready, signal);
        return instance;
      } catch (error) {
        release(instance);
        // Another step's signal may be why it was not filled: this one fills its own.
        if (found === undefined || signal.aborted) throw error;
      }
    }
  }

  function add(request: CacheMountRequest): Instance {
    const { key } = request;
    const path = join(directory, key, randomUUID());
    const ready = make(request, path);
    const instance = { key, path, users: 0, exclusive: false, usedAt: Date.now(), sizeBytes: undefined, ready };
    of(key).push(instance);
    ready.catch(() => forget(instance));
    return instance;
  }

  async function make({ key, uid, gid, mode, fill }: CacheMountRequest, path: string): Promise<void> {
    const draft = join(directory, `${PASSING}${randomUUID()}`);
    await mkdir(draft, { mode: 0o700 });
    try {
      const data = dataOf(draft);
      if (fill !== undefined) await fill(data);
      else {
        await mkdir(data);
        await lchown(data, uid, gid);
        await chmod(data, mode);
      }
      await mkdir(join(directory, key), { recursive: true, mode: 0o700 });
      await rename(draft, path);
    } catch (error) {
      await remove(draft).catch(() => {});
      throw error;
    }
  }

  function forget(instance: Instance): void {
    const left = of(instance.key).filter((each) => each !== instance);
    if (left.length > 0) instances.set(instance.key, left);
    else instances.delete(instance.key);
  }

  function release(instance: Instance): void {
    instance.users -= 1;
    instance.usedAt = Date.now();
    instance.sizeBytes = undefined;
    waiting.get(instance.key)?.resolve();
    waiting.delete(instance.key);
    if (instance.users === 0)
      trimming = trimming.then(() => trim()).catch((err) => log.warn({ err }, 'caches of builds were not trimmed'));
  }

  /** When it was used is kept as its time, for the next server. */
  async function measureUnused(instance: Instance): Promise<void> {
    try {
      await utimes(instance.path, instance.usedAt / 1000, instance.usedAt / 1000);
      instance.sizeBytes = await measure(instance.path);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      // Somebody has tidied up by hand.
      forget(instance);
    }
  }

  async function bound(): Promise<number> {
    const { blocks, bsize } = await statfs(directory);
    return Math.min(maxBytes, Math.floor((blocks * bsize) / POOL_PART));
  }

  async function trim(share = 1): Promise<number> {
    let total = 0;
    let removed = 0;
    for (const instance of [...instances.values()].flat()) {
      if (instance.users === 0 && instance.sizeBytes === undefined) await measureUnused(instance);
      total += instance.sizeBytes ?? 0;
    }
    const most = Math.min(await bound(), total * share);
    const oldestFirst = [...instances.values()].flat().toSorted((a, b) => a.usedAt - b.usedAt);
    for (const instance of oldestFirst) {
      if (total <= most) break;
      if (instance.users > 0) continue;
      // Gone for everybody before the first file is.
      forget(instance);
      total -= instance.sizeBytes ?? 0;
      const discarded = join(directory, `${PASSING}${randomUUID()}`);
      await rename(instance.path, discarded);
      await remove(discarded);
      removed += 1;
    }
    return removed;
  }

  async function ready(): Promise<void> {
    opened ??= open().catch((error: unknown) => {
      opened = undefined;
      throw error;
    });
    await opened;
  }

  return {
    async acquire(requests, signal) {
      await abortable(ready(), signal);
      const held: Instance[] = [];
      const free = () => {
        for (const instance of held.splice(0)) release(instance);
      };
      try {
        // In one order everywhere: two that wait for each other's would wait for ever.
        const byKey = new Map(requests.toSorted((a, b) => (a.key < b.key ? -1 : 1)).map((each) => [each.key, each]));
        for (const request of byKey.values()) held.push(await take(request, signal));
        return { directories: new Map(held.map(({ key, path }) => [key, dataOf(path)])), release: free };
      } catch (error) {
        free();
        throw error;
      }
    },
    async makeRoom() {
      await ready();
      const shrinking = trimming.then(() => trim(0.5));
      trimming = shrinking.catch(() => {});
      return await shrinking;
    },
    async list() {
      await ready();
      return [...instances.values()].flat().map(({ path, sizeBytes, users, usedAt }) => ({
        id: basename(path),
        sizeBytes,
        isUsed: users > 0,
        usedAt: new Date(usedAt),
      }));
    },
    bound,
    settled: async () => void (await trimming),
  };
}

const dataOf = (instance: string) => join(instance, 'data');

async function measure(path: string): Promise<number> {
  // What a step is still writing may vanish under the tool, which then complains.
  const { stdout } = await run('du', ['-s', '-x', '--block-size=1', '--', path], {
    timeoutMs: TOOL_MS,
    okCodes: [0, 1],
  });
  return Number.parseInt(stdout, 10) || 0;
}

async function remove(path: string): Promise<void> {
  await run('rm', ['-rf', '--one-file-system', '--', path], { timeoutMs: TOOL_MS });
}
