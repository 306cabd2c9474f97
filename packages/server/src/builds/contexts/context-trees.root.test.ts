import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { buildTar } from '../../images/tar/testing/build-tar.ts';
import { ID_BASE, ID_COUNT } from '../../images/unpack/testing/layer-blob.ts';
import { type BuildFiles, createBuildFiles } from '../files/build-files.ts';
import type { ContextKey, StoredContext } from './context-store.ts';
import { type ContextTrees, openContextTrees } from './context-trees.ts';

const ORGANIZATION = 'org';
let root: string;
let files: BuildFiles;
let trees: ContextTrees;
let now = 0;
let reads: string[];
let onRead: () => void;
const stored = new Map<string, Buffer>();

/** Contexts in memory, with what is asked for written down. */
const store = {
  async find(key: ContextKey): Promise<StoredContext | undefined> {
    const bytes = key.organizationId === ORGANIZATION ? stored.get(key.hash) : undefined;
    if (bytes === undefined) return undefined;
    const at = new Date(0);
    return { ...key, size: bytes.length, modifiedAt: at, usedAt: at, etag: String(bytes.length) };
  },
  async read(key: ContextKey) {
    onRead();
    const found = await store.find(key);
    const bytes = stored.get(key.hash);
    if (found === undefined || bytes === undefined) throw new Error('not there');
    reads.push(key.hash);
    return { stored: found, stream: Readable.from([bytes]) };
  },
};

const context = (hash: string, entries: Record<string, string>) =>
  stored.set(
    hash,
    buildTar(Object.entries(entries).map(([name, text]) => ({ name, mode: 0o644, data: Buffer.from(text) }))),
  );
const live = () => new AbortController().signal;
const open = () =>
  openContextTrees({ directory: join(root, 'trees'), store, files, maxBytes: 1 << 20, now: () => now });

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'trees-'));
  files = createBuildFiles({ idBase: ID_BASE, idCount: ID_COUNT });
  stored.clear();
  reads = [];
  onRead = () => {};
  trees = await open();
});
afterEach(async () => {
  await files.close();
  rmSync(root, { recursive: true, force: true });
});

describe('the contexts of a build', () => {
  test('are merged once for all that ask for the same, in order', async () => {
    context('one', { a: 'old', 'd/x': 'x' });
    context('two', { a: 'new' });
    const [first, second] = await Promise.all([
      trees.acquire(ORGANIZATION, ['one', 'two'], live()),
      trees.acquire(ORGANIZATION, ['two', 'one', 'two'], live()),
    ]);
    expect(first.directory).toBe(second.directory);
    expect(reads).toEqual(['one', 'two']);
    expect(readFileSync(join(first.directory, 'a'), 'utf8')).toBe('new');
    const other = await trees.acquire(ORGANIZATION, ['two', 'one'], live());
    expect(readFileSync(join(other.directory, 'a'), 'utf8')).toBe('old');
    for (const tree of [first, second, other]) tree.release();
  });

  test('are merged again when one was uploaded with other files', async () => {
    context('one', { a: 'first' });
    const before = await trees.acquire(ORGANIZATION, ['one'], live());
    context('one', { a: 'first', b: 'second' });
    const after = await trees.acquire(ORGANIZATION, ['one'], live());
    expect(after.source.identity).not.toBe(before.source.identity);
    expect(existsSync(join(after.directory, 'b'))).toBe(true);
    before.release();
    after.release();
  });

  test('are read again when one is uploaded again before it was read, and not for ever', async () => {
    context('one', { a: '' });
    let uploads = 2;
    onRead = () => {
      uploads -= 1;
      if (uploads >= 0) context('one', { a: 'x'.repeat(1024 * (3 - uploads)) });
    };
    const tree = await trees.acquire(ORGANIZATION, ['one'], live());
    expect(readFileSync(join(tree.directory, 'a'), 'utf8')).toHaveLength(3072);
    tree.release();
    uploads = 1000;
    onRead = () => {
      uploads += 1;
      context('one', { a: 'x'.repeat(1024 * (10 + (uploads % 9))) });
    };
    context('one', { a: '', b: '' });
    await expect(trees.acquire(ORGANIZATION, ['one'], live())).rejects.toMatchObject({ code: 'conflict' });
  });

  test('bring their ignore file along, the Dockerfile’s own first', async () => {
    context('one', { '.dockerignore': 'a', b: '' });
    context('two', { 'Dockerfile.dockerignore': 'b' });
    const one = await trees.acquire(ORGANIZATION, ['one'], live());
    const both = await trees.acquire(ORGANIZATION, ['one', 'two'], live());
    expect([one.source.ignore, both.source.ignore]).toEqual(['a', 'b']);
    one.release();
    both.release();
  });

  test('of none is an empty tree', async () => {
    const tree = await trees.acquire(ORGANIZATION, [], live());
    expect(readdirSync(tree.directory)).toEqual([]);
    tree.release();
  });

  test('are those of the organization alone', async () => {
    context('one', { a: '' });
    await expect(trees.acquire('another', ['one'], live())).rejects.toMatchObject({ code: 'not_found' });
    await expect(trees.acquire(ORGANIZATION, ['missing'], live())).rejects.toThrow('the context missing was not found');
  });

  test('that cannot be unpacked, and calls that are aborted, leave nothing', async () => {
    stored.set('bad', Buffer.alloc(2000, 'x'));
    await expect(trees.acquire(ORGANIZATION, ['bad'], live())).rejects.toMatchObject({ code: 'invalid_request' });
    context('large', { a: 'x'.repeat(2 << 20) });
    await expect(trees.acquire(ORGANIZATION, ['large'], live())).rejects.toMatchObject({ code: 'payload_too_large' });
    const controller = new AbortController();
    context('one', { a: '' });
    const running = trees.acquire(ORGANIZATION, ['one'], controller.signal);
    controller.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    expect(readdirSync(join(root, 'trees'))).toEqual([]);
  });

  test('are swept when nobody holds them, and by the next server', async () => {
    context('one', { a: '' });
    const tree = await trees.acquire(ORGANIZATION, ['one'], live());
    now = 100;
    expect(await trees.sweep(0)).toBe(0);
    tree.release();
    tree.release();
    expect(await trees.sweep(10)).toBe(0);
    now = 110;
    expect(await trees.sweep(10)).toBe(1);
    expect(readdirSync(join(root, 'trees'))).toEqual([]);
    writeFileSync(join(root, 'trees/litter'), '');
    trees = await open();
    expect(readdirSync(join(root, 'trees'))).toEqual([]);
  });
});
