import { lstat, readdir, rename, rmdir } from 'node:fs/promises';
import type { Layer } from '../images/types.ts';
import type { SandboxRow } from '../lifecycle/move.ts';
import { run } from '../platform/process.ts';
import type { CapturedFiles } from '../runtime/types.ts';
import type { LayerKeeper } from './layer-keeper.ts';

/** Millions of files on a slow disk. */
const MEASURE_MS = 10 * 60_000;

/** The copied files as a layer over `below`, on disk when this resolves; undefined where there are none. */
export async function capturedLayer(
  layers: Pick<LayerKeeper, 'make' | 'makeFromDisk' | 'sync'>,
  files: CapturedFiles,
  below: Layer | undefined,
): Promise<Layer | undefined> {
  if (files.kind === 'disk') {
    const layer = await layers.makeFromDisk(files.image, 'upper');
    // One that nothing names goes with the next sweep.
    return (await isUnchanged(layer.path, below)) ? undefined : layer;
  }
  const layer = await layers.make(async (directory) => {
    if (await isUnchanged(files.path, below)) return undefined;
    await rmdir(directory);
    await rename(files.path, directory);
    return { sizeBytes: await bytesOf(directory) };
  });
  await layers.sync();
  return layer;
}

/** Nothing is in it, and its root, which is always there, is as it was. */
async function isUnchanged(upper: string, below: Layer | undefined): Promise<boolean> {
  if (below === undefined || (await readdir(upper)).length > 0) return false;
  const [mine, before] = await Promise.all([lstat(upper), lstat(below.path)]);
  return mine.mode === before.mode && mine.uid === before.uid && mine.gid === before.gid;
}

/** As they lie on disk. */
export async function bytesOf(directory: string): Promise<number> {
  const { stdout } = await run('du', ['--summarize', '--block-size=1', '--', directory], { timeoutMs: MEASURE_MS });
  return Number.parseInt(stdout, 10);
}

/** What sandboxes of the snapshot need of the image: as the sandbox had it, with the environment that it was given. */
export function capturedImage({ image, env }: Pick<SandboxRow, 'image' | 'env'>): object {
  const { sandboxClass: _, ...config } = { sandboxClass: undefined, ...image };
  const given = 'env' in config && Array.isArray(config.env) ? config.env : [];
  const kept = given.filter((entry) => !(nameOf(String(entry)) in env));
  return { ...config, env: [...kept, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)] };
}

const nameOf = (entry: string) => entry.slice(0, Math.max(0, entry.indexOf('=')));
