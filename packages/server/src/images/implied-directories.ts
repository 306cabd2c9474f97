import { createHash } from 'node:crypto';
import { chmodSync, chownSync, lstatSync, mkdirSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../platform/errors.ts';
import { getXattr, listXattrs, setXattr } from '../platform/libc.ts';
import { setFileTime } from '../platform/libc-inode.ts';
import { run } from '../platform/process.ts';
import type { Layer, LayerStore } from './types.ts';

/**
 * On a directory that its layer does not list but needs as a parent; on the layer's own root when it has any. Sandboxes do not
 * see `trusted` attributes.
 */
export const IMPLIED = 'trusted.darkroom.implied';

const OPAQUE = 'trusted.overlay.opaque';
const FIND_MS = 60_000;

/**
 * What a directory looks like is what the topmost layer that *lists* it says, but an overlay shows the topmost that *has* it.
 * Where the two differ, one more layer goes on top, of directories alone: `/tmp` stays open to all although a layer has a file in
 * it and no entry for it. Undefined when there is nothing to put right. Base first.
 */
export async function restoreImplied(
  store: Pick<LayerStore, 'add'>,
  layers: readonly Layer[],
  signal: AbortSignal,
): Promise<Layer | undefined> {
  const implied = new Set<string>();
  for (const { path } of layers.slice(1)) for (const name of await impliedIn(path)) implied.add(name);
  const sources = new Map<string, string>();
  for (const path of implied) {
    const listing = listedBelow(layers, path);
    if (listing !== undefined) sources.set(path, listing);
  }
  if (sources.size === 0) return undefined;
  // What stands above those shows as it did.
  for (const path of [...sources.keys()]) {
    for (let parent = parentOf(path); parent !== undefined; parent = parentOf(parent)) {
      if (!sources.has(parent)) sources.set(parent, shownAt(layers, parent));
    }
  }
  const looks = [...sources].sort(([a], [b]) => (a < b ? -1 : 1)).map(([path, source]) => lookOf(path, source));
  const diffId = `sha256:${createHash('sha256').update(JSON.stringify(looks)).digest('hex')}`;
  return store.add(diffId, async (directory) => makeAll(directory, looks), signal);
}

interface Look {
  path: string;
  mode: number;
  uid: number;
  gid: number;
  mtimeNs: string;
  xattrs: [string, string][];
}

async function impliedIn(layer: string): Promise<string[]> {
  if (getXattr(layer, IMPLIED) === undefined) return [];
  const { stdout } = await run('find', [layer, '-mindepth', '1', '-type', 'd', '-printf', '%P\\0'], {
    timeoutMs: FIND_MS,
  });
  return stdout.split('\0').filter((name) => name !== '' && directoryAt(layer, name)?.implied === true);
}

interface Found {
  implied: boolean;
  /** It, or a directory above it, hides the layers below. */
  opaque: boolean;
}

/** Undefined where the layer has nothing of that name, `'other'` where something that is no directory is in the way. No link is followed. */
function findAt(layer: string, path: string): Found | 'other' | 'hidden' | undefined {
  let opaque = false;
  let current = layer;
  for (const part of path.split('/')) {
    current = join(current, part);
    let stats: Stats;
    try {
      stats = lstatSync(current);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return opaque ? 'hidden' : undefined;
      throw error;
    }
    if (!stats.isDirectory()) return 'other';
    opaque ||= getXattr(current, OPAQUE) !== undefined;
  }
  return { implied: getXattr(current, IMPLIED) !== undefined, opaque };
}

function directoryAt(layer: string, path: string): Found | undefined {
  const found = findAt(layer, path);
  return typeof found === 'object' ? found : undefined;
}

/** The directory whose look counts, where the topmost one is implied and shows another. */
function listedBelow(layers: readonly Layer[], path: string): string | undefined {
  for (const layer of layers.toReversed()) {
    const found = findAt(layer.path, path);
    if (found === undefined) continue;
    if (typeof found === 'string') return undefined;
    if (!found.implied) return isTopmost(layers, layer, path) ? undefined : join(layer.path, path);
    if (found.opaque) return undefined;
  }
  return undefined;
}

function isTopmost(layers: readonly Layer[], layer: Layer, path: string): boolean {
  return layers.findLast(({ path: at }) => directoryAt(at, path) !== undefined) === layer;
}

function shownAt(layers: readonly Layer[], path: string): string {
  if (path === '') return layers.at(-1)?.path ?? '';
  const shown = layers.findLast((layer) => directoryAt(layer.path, path) !== undefined);
  return join(shown?.path ?? '', path);
}

const parentOf = (path: string) => (path === '' ? undefined : path.slice(0, Math.max(0, path.lastIndexOf('/'))));

function lookOf(path: string, source: string): Look {
  const stats = lstatSync(source, { bigint: true });
  const names = listXattrs(source).filter((name) => name !== IMPLIED && name !== OPAQUE);
  return {
    path,
    mode: Number(stats.mode) & 0o7777,
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    mtimeNs: String(stats.mtimeNs),
    xattrs: names.sort().map((name) => [name, getXattr(source, name)?.toString('base64') ?? '']),
  };
}

function makeAll(directory: string, looks: readonly Look[]): { sizeBytes: number } {
  for (const { path, mode, uid, gid, xattrs } of looks) {
    const target = join(directory, path);
    if (path !== '') mkdirSync(target);
    chownSync(target, uid, gid);
    chmodSync(target, mode);
    for (const [name, value] of xattrs) setXattr(target, name, Buffer.from(value, 'base64'));
  }
  // Making what is in them changed the times of those above.
  for (const { path, mtimeNs } of looks.toReversed()) {
    const ns = BigInt(mtimeNs);
    setFileTime(join(directory, path), Number(ns / 1_000_000_000n), Number(ns % 1_000_000_000n));
  }
  return { sizeBytes: 0 };
}
