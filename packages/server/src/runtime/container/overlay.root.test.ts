import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readMounts } from '../mount-info.ts';
import { createOverlayMounter, type MountOverlay, mountByTool, type OverlayPaths, unmountQuietly } from './overlay.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'darkroom-overlay-'));
});
afterEach(async () => {
  unmountQuietly(join(dir, 'target'));
  await rm(dir, { recursive: true, force: true });
});

/** Layers `<name>/diff`, each with a file of its number and one that the next hides. */
async function stack(names: readonly string[]): Promise<OverlayPaths> {
  const layers = names.map((name) => join(dir, 'layers', name, 'diff'));
  for (const [i, layer] of layers.entries()) {
    await mkdir(layer, { recursive: true });
    await writeFile(join(layer, 'top'), String(i));
    await writeFile(join(layer, `file-${i}`), '');
  }
  for (const name of ['upper', 'work', 'target']) await mkdir(join(dir, name));
  return { layers, upper: join(dir, 'upper'), work: join(dir, 'work'), target: join(dir, 'target') };
}

const many = (count: number) => Array.from({ length: count }, (_, i) => `${i}-${'f'.repeat(16)}`);

const ways: [string, () => MountOverlay][] = [
  ['by system calls, where the kernel appends layers', createOverlayMounter],
  ['by the tool, for older kernels', () => mountByTool],
];

describe.each(ways)('mounting %s', (_, way) => {
  test('128 layers shows the topmost file of each name', async () => {
    const paths = await stack(many(128));
    await way()(paths);
    expect(await readFile(join(paths.target, 'top'), 'utf8')).toBe('127');
    expect(await readdir(paths.target)).toHaveLength(129);
  });

  test('takes names with commas, colons, spaces and backslashes', async () => {
    const paths = await stack(['a,b', 'c:d', 'e f', 'g\\h']);
    await way()(paths);
    expect(await readFile(join(paths.target, 'top'), 'utf8')).toBe('3');
    expect(await readdir(paths.target)).toHaveLength(5);
  });

  test('opens no device, and believes and makes no redirects', async () => {
    const paths = await stack(['one']);
    await way()(paths);
    const entry = (await readMounts()).find(({ target }) => target === paths.target);
    expect(entry?.options).toContain('nodev');
    expect(entry?.superOptions).toContain('redirect_dir=nofollow');
  });

  test('a layer that is not there says so and leaves no mount', async () => {
    const paths = await stack(['one']);
    await expect(way()({ ...paths, layers: [...paths.layers, join(dir, 'gone', 'diff')] })).rejects.toMatchObject({
      name: 'DarkroomError',
    });
    expect((await readMounts()).filter(({ target }) => target === paths.target)).toEqual([]);
  });
});

test('more layers than the kernel mounts are refused with both numbers', async () => {
  const paths = await stack(['one']);
  const layers = Array.from({ length: 501 }, (_, index) => `${paths.layers[0]}/${index}`);
  await expect(createOverlayMounter()({ ...paths, layers })).rejects.toThrow(/501 layers are more than the 500/);
});
