import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createLayerStore } from '../images/layer-store.ts';
import { mountedLayers } from './mounted-layers.ts';

test('layers on disks are there as long as somebody waits to use them', async () => {
  const root = mkdtempSync(join(tmpdir(), 'mounted-layers-'));
  let time = 0;
  const store = await createLayerStore(join(root, 'store'), { graceMs: 0, now: () => time });
  try {
    mkdirSync(join(root, 'content/upper'), { recursive: true });
    writeFileSync(join(root, 'content/upper/file'), 'captured');
    execFileSync('mkfs.ext4', ['-q', '-F', '-b', '4096', '-d', join(root, 'content'), join(root, 'image'), '16M']);
    const { diffId, path } = await store.makeFromDisk(join(root, 'image'), 'upper');
    const missing = mountedLayers(store, [diffId, 'sha256:none'], 'snapshot x');
    await expect(missing).rejects.toMatchObject({ code: 'unavailable' });
    {
      using mounted = await mountedLayers(store, [diffId], 'snapshot x');
      time += 2 * 60 * 60_000;
      await store.sweep(new Set([diffId]));
      expect(mounted.layers.map((layer) => readdirSync(layer.path))).toEqual([['file']]);
    }
    await store.sweep(new Set([diffId]));
    expect(readdirSync(path)).toEqual([]);
  } finally {
    await store.close();
    rmSync(root, { recursive: true, force: true });
  }
});
