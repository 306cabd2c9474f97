import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readlink, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLayerStore } from './layer-store.ts';

const digest = (character: string) => `sha256:${character.repeat(64)}`;
const A = digest('a');
const B = digest('b');
const never = new AbortController().signal;

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'layer-store-'));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

const writesFile = (text: string) => async (directory: string) => {
  await writeFile(join(directory, 'file'), text);
  return { sizeBytes: text.length };
};

describe('adding a layer', () => {
  it('makes it visible complete, under a short path, and through the index', async () => {
    const store = await createLayerStore(root);
    const layer = await store.add(A, writesFile('hello'), never);
    expect(layer).toEqual({ diffId: A, path: join(root, 'layers/1/diff'), shortPath: 'layers/1/diff', sizeBytes: 5 });
    expect(await readdir(layer.path)).toEqual(['file']);
    expect(await readlink(join(root, 'by-diff-id', A))).toBe('../layers/1');
    expect(await store.get(A)).toEqual(layer);
    expect(await store.list()).toEqual([layer]);
    expect(await readdir(join(root, 'tmp'))).toEqual([]);
  });

  it('keeps a layer that is there, without filling another', async () => {
    const store = await createLayerStore(root);
    await store.add(A, writesFile('first'), never);
    const again = await store.add(A, () => Promise.reject(new Error('must not run')), never);
    expect(again.sizeBytes).toBe(5);
  });

  it('runs one fill for calls that ask at the same time', async () => {
    const store = await createLayerStore(root);
    let fills = 0;
    const fill = async (directory: string) => {
      fills++;
      return await writesFile('x')(directory);
    };
    const layers = await Promise.all(Array.from({ length: 8 }, () => store.add(A, fill, never)));
    expect(fills).toBe(1);
    expect(new Set(layers.map((layer) => layer.path)).size).toBe(1);
  });

  it('leaves nothing of a fill that fails', async () => {
    const store = await createLayerStore(root);
    const fill = async (directory: string) => {
      await writesFile('half')(directory);
      throw new Error('cut off');
    };
    await expect(store.add(A, fill, never)).rejects.toThrow('cut off');
    expect(await store.get(A)).toBeUndefined();
    expect(await readdir(join(root, 'tmp'))).toEqual([]);
    expect(await readdir(join(root, 'layers'))).toEqual([]);
  });

  it('ends the fill when nobody waits for it any more, and not before', async () => {
    const store = await createLayerStore(root);
    const first = new AbortController();
    const second = new AbortController();
    const started = Promise.withResolvers<AbortSignal>();
    const fill = (_directory: string, signal: AbortSignal) => {
      started.resolve(signal);
      return new Promise<never>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      });
    };
    const one = store.add(A, fill, first.signal);
    const other = store.add(A, fill, second.signal);
    const inner = await started.promise;
    first.abort(new Error('first left'));
    await expect(one).rejects.toThrow('first left');
    expect(inner.aborted).toBe(false);
    second.abort(new Error('second left'));
    await expect(other).rejects.toThrow('second left');
    expect(inner.aborted).toBe(true);
    await expect.poll(() => readdir(join(root, 'tmp'))).toEqual([]);
  });
});

describe('opening a store', () => {
  it('finds the layers of before, and gives numbers that were never used', async () => {
    const before = await createLayerStore(root);
    await before.add(A, writesFile('a'), never);
    const after = await createLayerStore(root);
    expect(await after.list()).toEqual(await before.list());
    expect((await after.add(B, writesFile('b'), never)).shortPath).toBe('layers/2/diff');
  });

  it('repairs the index after a crash between the rename and the link', async () => {
    const before = await createLayerStore(root);
    await before.add(A, writesFile('a'), never);
    await unlink(join(root, 'by-diff-id', A));
    await symlink('../layers/99', join(root, 'by-diff-id', B));
    const after = await createLayerStore(root);
    expect((await after.get(A))?.shortPath).toBe('layers/1/diff');
    expect(await after.get(B)).toBeUndefined();
    expect(await readdir(join(root, 'by-diff-id'))).toEqual([A]);
  });

  it('does not take a directory without a record for a layer', async () => {
    await createLayerStore(root);
    await mkdir(join(root, 'layers/7/diff'), { recursive: true });
    const store = await createLayerStore(root);
    expect(await store.list()).toEqual([]);
    await store.sweep(new Set());
    expect(await readdir(join(root, 'layers'))).toEqual([]);
    expect(await readdir(join(root, 'tmp'))).toEqual([]);
  });
});

describe('sweeping', () => {
  it('removes what is not reachable, and says what', async () => {
    const store = await createLayerStore(root, { graceMs: 0 });
    const a = await store.add(A, writesFile('a'), never);
    const b = await store.add(B, writesFile('b'), never);
    expect(await store.sweep(new Set([B]))).toEqual([A]);
    expect(await store.get(A)).toBeUndefined();
    expect(existsSync(a.path)).toBe(false);
    expect(existsSync(b.path)).toBe(true);
    expect(await readdir(join(root, 'by-diff-id'))).toEqual([B]);
  });

  it('spares a layer that was given out a moment ago, until its time is over', async () => {
    let time = 0;
    const store = await createLayerStore(root, { graceMs: 1000, now: () => time });
    await store.add(A, writesFile('a'), never);
    time = 900;
    expect(await store.sweep(new Set())).toEqual([]);
    await store.get(A);
    time = 1800;
    expect(await store.sweep(new Set())).toEqual([]);
    time = 1900;
    expect(await store.sweep(new Set())).toEqual([A]);
  });

  it('takes the litter of calls that never ended, and not the directory of one that runs', async () => {
    const store = await createLayerStore(root);
    await mkdir(join(root, 'tmp/layer-dead/diff'), { recursive: true });
    const started = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    const adding = store.add(
      A,
      async (directory) => {
        started.resolve();
        await go.promise;
        return await writesFile('alive')(directory);
      },
      never,
    );
    await started.promise;
    await store.sweep(new Set());
    expect(existsSync(join(root, 'tmp/layer-dead'))).toBe(false);
    go.resolve();
    expect((await adding).sizeBytes).toBe(5);
  });

  it('spares the directory of a call that begins while it looks for litter', async () => {
    const store = await createLayerStore(root);
    const ids = Array.from({ length: 16 }, (_, index) => digest(index.toString(16)));
    let pending = ids.length;
    const adds = ids.map((id) => store.add(id, writesFile('x'), never).finally(() => pending--));
    const sweeps = (async () => {
      while (pending > 0) await store.sweep(new Set(ids));
    })();
    const results = await Promise.allSettled(adds);
    await sweeps;
    expect(results.filter(({ status }) => status === 'rejected')).toEqual([]);
  });

  it('lets a layer be added again while its old files are being removed', async () => {
    const store = await createLayerStore(root, { graceMs: 0 });
    await store.add(A, writesFile('old'), never);
    const sweeping = store.sweep(new Set());
    await expect.poll(() => store.get(A)).toBeUndefined();
    const added = await store.add(A, writesFile('newer'), never);
    await sweeping;
    expect(existsSync(added.path)).toBe(true);
    expect(await store.get(A)).toEqual(added);
  });
});

it('takes what was set aside of a layer with it, also when it was fetched again', async () => {
  const store = await createLayerStore(root, { graceMs: 0 });
  await store.add(A, writesFile('damaged'), never);
  await store.setAside(A);
  await store.add(A, writesFile('sound'), never);
  expect(await readdir(join(root, 'damaged'))).toEqual(['1']);
  expect(await store.sweep(new Set())).toEqual([A]);
  for (const name of ['layers', 'damaged', 'tmp']) expect(await readdir(join(root, name))).toEqual([]);
});
