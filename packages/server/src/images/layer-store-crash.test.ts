import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createLayerStore } from './layer-store.ts';

const SCRIPT = fileURLToPath(new URL('./testing/add-layers-forever.ts', import.meta.url));

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'layer-store-crash-'));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

/** Kills the process when it has said so many things; returns what it had said by then. */
async function killAfter(lines: number): Promise<string[]> {
  const child = spawn(process.execPath, [SCRIPT, root], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line);
    if (said.length === lines) child.kill('SIGKILL');
  }
  await exited;
  return said;
}

it('a store that was killed at any point has every layer that it acknowledged, whole, and no half one', async () => {
  const acknowledged = new Set<string>();
  const removed = new Set<string>();
  for (const lines of [1, 2, 3, 4, 5, 6, 7, 9, 11]) {
    for (const line of await killAfter(lines)) {
      const [what, diffId] = line.split(' ');
      if (what === 'added' && diffId !== undefined) acknowledged.add(diffId);
      if (what === 'removing' && diffId !== undefined) removed.add(diffId);
    }
    const store = await createLayerStore(root, { graceMs: 0 });
    const layers = await store.list();
    for (const { diffId, path, sizeBytes } of layers) {
      const files = await readdir(path);
      expect(files).toHaveLength(10);
      expect(sizeBytes).toBe(10 * diffId.length);
      for (const file of files) expect(await readFile(join(path, file), 'utf8')).toBe(diffId);
    }
    const present = new Set(layers.map(({ diffId }) => diffId));
    expect([...acknowledged].filter((diffId) => !present.has(diffId))).toEqual([]);
    expect(new Set(await readdir(join(root, 'by-diff-id')))).toEqual(present);
    await store.sweep(acknowledged);
    expect(await readdir(join(root, 'tmp'))).toEqual([]);
    expect(await readdir(join(root, 'layers'))).toHaveLength(acknowledged.size);
  }
  expect(acknowledged.size).toBeGreaterThan(0);
  expect(removed.size).toBeGreaterThan(0);
}, 60_000);
