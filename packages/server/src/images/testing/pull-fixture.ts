import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../platform/process.ts';
import { createLayerStore } from '../layer-store.ts';
import { createImagePuller, type OpenImagePuller } from '../pull.ts';
import { parseReference } from '../reference.ts';
import type { RegistryLimits } from '../registry/limits.ts';
import type { LayerStore, PulledImage, PullOptions } from '../types.ts';
import { createUnpacker } from '../unpack/unpacker.ts';
import { ANONYMOUS, QUICK_LIMITS, registryConfig } from './fetching.ts';
import type { TestImage } from './test-image.ts';

/** Host id that is root in the layers. */
export const ID_BASE = 1_000_000_000;

/** A puller with a store of its own in a temporary directory. Needs root. */
export interface PullFixture {
  directory: string;
  layers: LayerStore;
  pull(reference: string, options?: Partial<PullOptions>): Promise<PulledImage>;
  /** The same unpacker with another store or other limits. */
  otherPuller(options: { layers?: Pick<LayerStore, 'get' | 'add'>; limits?: Partial<RegistryLimits> }): OpenImagePuller;
  /** Sorted diffIDs of the layers in the store. */
  stored(): Promise<string[]>;
  /** Paths of files of this name anywhere in the store, also in what is not a layer yet. */
  find(name: string): Promise<string>;
  close(): Promise<void>;
}

export const pullOptions = (more: Partial<PullOptions> = {}): PullOptions => ({
  credentials: ANONYMOUS,
  signal: AbortSignal.timeout(30_000),
  maxBytes: 1e9,
  ...more,
});

export const diffIds = (image: TestImage) => image.layers.map(({ diffId }) => diffId);

export async function createPullFixture(): Promise<PullFixture> {
  const directory = await mkdtemp(join(tmpdir(), 'darkroom-pull-'));
  const layers = await createLayerStore(join(directory, 'store'));
  const unpacker = createUnpacker({ idBase: ID_BASE, idCount: 65536 });
  const pullers: OpenImagePuller[] = [];
  const otherPuller: PullFixture['otherPuller'] = (options) => {
    const limits = { ...QUICK_LIMITS, ...options.limits };
    const puller = createImagePuller({
      layers: options.layers ?? layers,
      unpacker,
      registries: registryConfig(),
      limits,
    });
    pullers.push(puller);
    return puller;
  };
  const puller = otherPuller({});
  return {
    directory,
    layers,
    otherPuller,
    pull: (reference, options) => puller.pull(parseReference(reference), pullOptions(options)),
    stored: async () => (await layers.list()).map(({ diffId }) => diffId).sort(),
    find: async (name) => (await run('find', [layers.root, '-name', name], { timeoutMs: 5_000 })).stdout,
    async close() {
      await Promise.all(pullers.map((open) => open.close()));
      await unpacker.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
