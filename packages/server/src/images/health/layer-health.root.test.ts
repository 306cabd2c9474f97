import {
  appendFileSync,
  chmodSync,
  existsSync,
  lchownSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { setXattr } from '../../platform/libc.ts';
import { createLayerStore, type OpenLayerStore } from '../layer-store.ts';
import { buildTar, type TestMember } from '../tar/testing/build-tar.ts';
import type { Layer } from '../types.ts';
import { ID_BASE, ID_COUNT, inChunks, layerBlob } from '../unpack/testing/layer-blob.ts';
import { unpackLayer } from '../unpack/unpack-layer.ts';
import { createLayerHealth, type LayerHealth } from './layer-health.ts';
import { treeRecordPath } from './tree-record.ts';
import { createLayerVerifier, type LayerVerifier } from './verify-layer.ts';

let root: string;
let store: OpenLayerStore;
let verifier: LayerVerifier;
let layer: Layer;
const signal = new AbortController().signal;

const MEMBERS: TestMember[] = [
  { name: 'bin/', flag: '5', mode: 0o755 },
  { name: 'bin/tool', data: Buffer.alloc(10_000, 'tool'), mode: 0o4755, uid: 3, mtime: 1_500_000_000 },
  { name: 'bin/other', flag: '1', linkName: 'bin/tool' },
  { name: 'bin/way', flag: '2', linkName: 'tool' },
  { name: 'bin!', data: Buffer.from('sorts before what is in bin, by its bytes') },
  { name: 'data', data: Buffer.alloc(3_000_000, 'data'), pax: [['SCHILY.xattr.user.note', 'x']] },
  { name: '\u00ff\u0001', data: Buffer.from('x') },
  { name: '.wh.gone' },
  { name: 'empty', data: Buffer.alloc(0) },
];
const ARCHIVE = buildTar(MEMBERS);

async function pull(into: OpenLayerStore): Promise<Layer> {
  const { blob, bytes } = layerBlob(ARCHIVE, '');
  const fill = (directory: string) =>
    unpackLayer(
      {
        ...blob,
        directory,
        idBase: ID_BASE,
        idCount: ID_COUNT,
        maxBytes: 1 << 30,
        maxEntries: 1000,
        maxPaddingBytes: 1 << 30,
        record: treeRecordPath(directory),
      },
      inChunks(bytes, 64 * 1024),
      () => false,
    );
  return await into.add(blob.diffId, fill, signal);
}

beforeAll(() => {
  verifier = createLayerVerifier();
});
afterAll(() => verifier.close());
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'health-'));
  store = await createLayerStore(root);
  layer = await pull(store);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const at = (name: string) => join(layer.path, name);
const verify = (contents: boolean) => verifier.verifyLayer(layer.path, { contents, signal });

describe('the files of a layer', () => {
  test('are sound as they were unpacked', async () => {
    expect(await verify(false)).toEqual({ kind: 'sound', entries: 10 });
    expect(await verify(true)).toEqual({ kind: 'sound', entries: 10 });
    // To be read changes nothing.
    readFileSync(at('data'));
    expect(await verify(true)).toMatchObject({ kind: 'sound' });
  });

  test.each<[string, () => void, string]>([
    ['a mode', () => chmodSync(at('bin/tool'), 0o755), '/bin/tool: its mode'],
    ['an owner', () => lchownSync(at('bin/way'), 7, ID_BASE), '/bin/way: its owner'],
    ['a missing file', () => unlinkSync(at('data')), '/data: it is missing'],
    ['a missing directory', () => rmSync(at('bin'), { recursive: true }), '/bin: it is missing'],
    ['a truncated file', () => truncateSync(at('data'), 5), '/data: its size'],
    ['more in a file', () => appendFileSync(at('empty'), 'x'), '/empty: its size'],
    ['a time', () => utimesSync(at('data'), 1, 1), '/data: its time'],
    ['a new file', () => writeFileSync(at('bin/new'), ''), '/bin/new: it is new'],
    ['a new file at the end', () => writeFileSync(at('zzz'), ''), '/zzz: it is new'],
    ['an attribute', () => setXattr(at('data'), 'user.note', Buffer.from('y')), '/data: its attributes'],
    ['a new attribute', () => setXattr(at('bin'), 'trusted.overlay.opaque', Buffer.from('y')), '/bin: its attributes'],
    ['a whiteout that is a file', () => replace('gone'), '/gone: its type'],
    [
      'another target of a link',
      () => {
        unlinkSync(at('bin/way'));
        symlinkSync('TOOL', at('bin/way'));
      },
      '/bin/way: its target',
    ],
    [
      'a file of two names that became two',
      () => {
        const bytes = readFileSync(at('bin/tool'));
        unlinkSync(at('bin/tool'));
        writeFileSync(at('bin/tool'), bytes);
      },
      '/bin/tool: its type',
    ],
  ])('%s is noticed', async (_, damage, difference) => {
    damage();
    expect(await verify(false)).toMatchObject({ kind: 'damaged', differences: expect.arrayContaining([difference]) });
  });

  test('changed bytes are noticed when bytes are compared', async () => {
    flipByte('bin/tool');
    expect(await verify(false)).toMatchObject({ kind: 'sound' });
    expect(await verify(true)).toEqual({ kind: 'damaged', differences: ['/bin/other: its bytes'] });
  });

  test('a damaged record is a damaged layer, a missing one says nothing', async () => {
    const record = treeRecordPath(layer.path);
    const bytes = readFileSync(record);
    for (const damaged of [bytes.subarray(0, 20), bytes.subarray(0, -1), Buffer.alloc(0), flipped(bytes)]) {
      writeFileSync(record, damaged);
      expect(await verify(false)).toMatchObject({
        kind: 'damaged',
        differences: expect.arrayContaining([expect.stringContaining('record')]),
      });
    }
    unlinkSync(record);
    expect(await verify(false)).toEqual({ kind: 'unrecorded' });
    await verifier.recordLayer(layer.path, { contents: true, signal });
    expect(await verify(true)).toMatchObject({ kind: 'sound' });
  });
});

function replace(name: string): void {
  unlinkSync(at(name));
  writeFileSync(at(name), '');
}

function flipped(bytes: Buffer): Buffer {
  const other = Buffer.from(bytes);
  other[Math.floor(other.length / 2)] = (other[Math.floor(other.length / 2)] ?? 0) ^ 0x10;
  return other;
}

/** As a disk does it: nothing else of the file changes. */
function flipByte(name: string): void {
  const { atime, mtimeNs } = lstatSync(at(name), { bigint: true });
  writeFileSync(at(name), flipped(readFileSync(at(name))), { flag: 'r+' });
  setTime(name, Number(atime.getTime()) / 1000, mtimeNs);
}

function setTime(name: string, atime: number, mtimeNs: bigint): void {
  utimesSync(at(name), atime, Number(mtimeNs / 1_000_000_000n));
}

describe('before something is built on layers', () => {
  let health: LayerHealth;
  let fetches: number;
  let warnings: object[];
  let canFetch: boolean;

  beforeEach(async () => {
    fetches = 0;
    warnings = [];
    canFetch = true;
    health = await open();
  });
  afterEach(() => health.close());

  const open = (now?: () => number) =>
    createLayerHealth({
      store,
      usersOf: async () => ['mine'],
      log: { warn: (fields) => warnings.push(fields) },
      async fetchAgain() {
        fetches += 1;
        if (!canFetch) return false;
        await pull(store);
        return true;
      },
      ...(now === undefined ? {} : { now }),
    });

  test('sound ones are passed, and are not looked at again within the hour', async () => {
    let time = 0;
    await health.close();
    health = await open(() => time);
    await health.ensureSound([layer.diffId], signal);
    chmodSync(at('data'), 0o600);
    await health.ensureSound([layer.diffId], signal);
    expect(fetches).toBe(0);
    time += 61 * 60_000;
    await health.ensureSound([layer.diffId], signal);
    expect(fetches).toBe(1);
  });

  test('a damaged one is fetched again to the same place, once for all who ask, and told with its snapshots', async () => {
    truncateSync(at('data'), 5);
    await Promise.all([1, 2, 3].map(() => health.ensureSound([layer.diffId], signal)));
    expect(fetches).toBe(1);
    expect((await store.get(layer.diffId))?.path).toBe(layer.path);
    expect(await verify(true)).toMatchObject({ kind: 'sound' });
    expect(health.isDamaged(layer.diffId)).toBe(false);
    expect(warnings[0]).toMatchObject({
      layer: layer.diffId,
      snapshots: ['mine'],
      differences: ['/data: its size', '/data: its time'],
    });
    // What runs on the damaged one keeps its files.
    expect(existsSync(join(root, 'damaged/1/diff/bin/tool'))).toBe(true);
    await health.ensureSound([layer.diffId], signal);
    expect(fetches).toBe(1);
  });

  test('one that cannot be fetched stays for those who have it, and nothing is built on it, also after a restart', async () => {
    truncateSync(at('data'), 5);
    canFetch = false;
    const refused = { code: 'unavailable', retryable: true, message: expect.stringContaining('/data: its size') };
    await expect(health.ensureSound([layer.diffId], signal)).rejects.toMatchObject(refused);
    expect((await store.get(layer.diffId))?.path).toBe(layer.path);
    await health.close();
    store = await createLayerStore(root);
    health = await open();
    expect(health.isDamaged(layer.diffId)).toBe(true);
    await expect(health.ensureSound([layer.diffId], signal)).rejects.toMatchObject({ code: 'unavailable' });
    canFetch = true;
    await health.ensureSound([layer.diffId], signal);
    expect(health.isDamaged(layer.diffId)).toBe(false);
  });

  test('one that was set aside when the server was killed is back', async () => {
    await store.setAside(layer.diffId);
    expect(await store.get(layer.diffId)).toBeUndefined();
    store = await createLayerStore(root);
    expect((await store.get(layer.diffId))?.path).toBe(layer.path);
  });

  test('one that was built here is known as damaged, and is not fetched', async () => {
    const built = await store.make(async (directory) => {
      writeFileSync(join(directory, 'file'), 'content');
      return { sizeBytes: 7 };
    });
    if (built === undefined) throw new Error('no layer');
    // Nobody has recorded it yet: it counts as sound.
    await health.ensureSound([built.diffId], signal);
    await verifier.recordLayer(built.path, { contents: true, signal });
    unlinkSync(join(built.path, 'file'));
    await health.close();
    health = await open();
    await expect(health.ensureSound([layer.diffId, built.diffId], signal)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('built:'),
    });
    expect(fetches).toBe(0);
    expect([health.isDamaged(built.diffId), health.isDamaged(layer.diffId)]).toEqual([true, false]);
  });

  test('an abort ends the look with its reason', async () => {
    const reason = new Error('cancelled');
    await expect(health.ensureSound([layer.diffId], AbortSignal.abort(reason))).rejects.toBe(reason);
  });
});
