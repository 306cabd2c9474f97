import type { Config } from '../platform/config-schema.ts';
import { DarkroomError, messageOf } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { getXattr } from '../platform/libc.ts';
import { sniffCompression } from './compression.ts';
import { treeRecordPath } from './health/tree-record.ts';
import { restoreImplied } from './implied-directories.ts';
import { createProgressMeter, type ProgressMeter } from './pull-progress.ts';
import { formatReference, parseReference } from './reference.ts';
import { createRegistryClient, type RepositoryClient, type ResolvedImage } from './registry/client.ts';
import type { RegistryLimits } from './registry/limits.ts';
import type { Platform } from './registry/manifest.ts';
import { hostPlatform } from './registry/platform.ts';
import { createSharedRuns } from './shared-runs.ts';
import type { ImagePuller, ImageReference, Layer, LayerStore, PulledImage, PullOptions } from './types.ts';
import type { LayerUnpacker } from './unpack/types.ts';

export interface ImagePullerDeps {
  layers: Pick<LayerStore, 'get' | 'add'>;
  unpacker: LayerUnpacker;
  registries: Config['registries'];
  log?: { info(fields: object, message: string): void };
  /** What images are chosen for; by default this machine. */
  platform?: Platform;
  limits?: RegistryLimits;
}

/** An ImagePuller that holds connections until it is closed. */
export interface OpenImagePuller extends ImagePuller {
  close(): Promise<void>;
}

type WantedLayer = ResolvedImage['layers'][number];

/** What the layers of one pull share. */
interface Pull {
  image: string;
  repository: RepositoryClient;
  maxBytes: number;
  /** Bytes of the layers that are ready. */
  usedBytes: number;
  meter: ProgressMeter;
}

export function createImagePuller(deps: ImagePullerDeps): OpenImagePuller {
  const { layers, registries, platform = hostPlatform() } = deps;
  const client = createRegistryClient(registries, deps.limits);
  const runs = createSharedRuns<Layer>();

  function ensureLayer(pull: Pull, layer: WantedLayer, signal: AbortSignal): Promise<Layer> {
    return runs.join(layer.diffId, (shared, report) => addLayer(deps, pull, layer, shared, report), {
      signal,
      onReport: (bytes) => pull.meter.downloaded(layer.diffId, bytes),
    });
  }

  async function pullImage(reference: ImageReference, options: PullOptions): Promise<PulledImage> {
    const since = performance.now();
    const { signal } = options;
    const meter = createProgressMeter(options.onProgress);
    const image = formatReference(reference);
    const repository = client.repository(reference, options.credentials);
    if (options.known !== undefined && (await isStill(deps, repository, options.known, options))) {
      meter.start(new Map(), options.known.layers.length);
      meter.done();
      return options.known;
    }
    const resolved = await repository.resolve(platform, signal);
    await failpoint('pull.resolved');

    // From here on layers of other pulls may be used: this one has read, with its own credentials, a manifest and a config
    // that name their content by digest, which is what the registry itself asks for before it hands them out.
    const wanted = topmostOnly(resolved.layers);
    const present = new Map<string, Layer>();
    for (const { diffId } of wanted) {
      const layer = await layers.get(diffId);
      if (layer !== undefined) present.set(diffId, layer);
    }
    const missing = wanted.filter(({ diffId }) => !present.has(diffId));
    const pull: Pull = { image, repository, maxBytes: options.maxBytes, usedBytes: 0, meter };
    for (const layer of present.values()) account(pull, layer);
    meter.start(new Map(missing.map(({ diffId, size }) => [diffId, size])), wanted.length);

    await forEachParallel(missing, registries.concurrency, signal, async (layer, within) => {
      const ready = await ensureLayer(pull, layer, within);
      account(pull, ready);
      present.set(layer.diffId, ready);
      meter.layerReady(layer.diffId);
    });

    const visible = visibleLayers(wanted, present).flatMap(({ diffId }) => present.get(diffId) ?? []);
    const restored = await restoreImplied(layers, visible, signal);

    meter.done();
    deps.log?.info(
      {
        image,
        digest: resolved.digest,
        layers: wanted.length,
        fetched: missing.length,
        sizeBytes: pull.usedBytes,
        ms: Math.round(performance.now() - since),
      },
      'image pulled',
    );
    return {
      resolved: formatReference({ ...reference, tag: undefined, digest: resolved.digest }),
      layers: [...visible, ...(restored === undefined ? [] : [restored])].map(({ diffId }) => diffId),
      config: resolved.config,
      sizeBytes: pull.usedBytes,
    };
  }

  return {
    async pull(reference, options) {
      try {
        return await pullImage(reference, options);
      } catch (error) {
        throw asPullError(error, reference, options.signal);
      }
    },
    close: () => client.close(),
  };
}

/** Its own earlier manifest and config name these layers, and the registry has just said with its credentials that they are what it means. */
async function isStill(
  { layers }: ImagePullerDeps,
  repository: RepositoryClient,
  known: PulledImage,
  { maxBytes, signal }: PullOptions,
): Promise<boolean> {
  const { digest } = parseReference(known.resolved);
  if (digest === undefined || known.sizeBytes > maxBytes) return false;
  for (const diffId of known.layers) if ((await layers.get(diffId)) === undefined) return false;
  return repository.isStill(digest, signal);
}

/**
 * A layer that is opaque at its very root hides all below it. The kernel looks for the mark on directories inside of layers
 * only, never on a layer's own root, so the hidden layers are left out here.
 */
function visibleLayers(wanted: readonly WantedLayer[], present: ReadonlyMap<string, Layer>): readonly WantedLayer[] {
  const topmostOpaque = wanted.findLastIndex(({ diffId }) => {
    const layer = present.get(diffId);
    return layer !== undefined && getXattr(layer.path, 'trusted.overlay.opaque') !== undefined;
  });
  return wanted.slice(Math.max(0, topmostOpaque));
}

/** Download, verification and unpacking of one layer run into one another; see LayerUnpacker. */
async function addLayer(
  { layers, unpacker }: ImagePullerDeps,
  pull: Pull,
  layer: WantedLayer,
  signal: AbortSignal,
  report: (bytes: number) => void,
): Promise<Layer> {
  // It may have been added since this pull looked.
  const present = await layers.get(layer.diffId);
  if (present !== undefined) return present;
  const fill = async (directory: string, within: AbortSignal) => {
    // When unpacking fails, the download may just be waiting for its registry: nobody waits for that.
    const over = new AbortController();
    const bytes = pull.repository.blob(layer, AbortSignal.any([within, over.signal]));
    const blob = await sniffCompression(counted(bytes, report));
    try {
      const { diffId, digest, size } = layer;
      const maxBytes = Math.max(0, pull.maxBytes - pull.usedBytes);
      return await unpacker.unpack(
        blob.source,
        {
          directory,
          compression: blob.compression,
          blobDigest: digest,
          blobSize: size,
          diffId,
          maxBytes,
          record: treeRecordPath(directory),
        },
        within,
      );
    } finally {
      over.abort();
      await blob.close();
    }
  };
  return layers.add(layer.diffId, fill, signal);
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  report: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    report(bytes);
    yield chunk;
  }
}

/**
 * A layer that an image has twice counts where it is on top: it covers all that it had below, and overlayfs refuses a
 * directory that stands twice among the lower ones.
 */
function topmostOnly(layers: readonly WantedLayer[]): WantedLayer[] {
  const last = new Map(layers.map(({ diffId }, position) => [diffId, position]));
  return layers.filter(({ diffId }, position) => last.get(diffId) === position);
}

/** Layers are unpacked side by side, each with what was left when it began, so the sum is checked again at each end. */
function account(pull: Pull, layer: Layer): void {
  pull.usedBytes += layer.sizeBytes;
  if (pull.usedBytes <= pull.maxBytes) return;
  throw new DarkroomError(
    'image_invalid',
    `The image ${pull.image} is refused: unpacked it has more than ${pull.maxBytes} bytes`,
    {
      hint: 'Use a smaller image, or raise the limit on the size of snapshots.',
      details: { reason: 'too_large' },
    },
  );
}

/** Stops the others at the first failure, and returns only when all have stopped. */
async function forEachParallel<T>(
  items: readonly T[],
  concurrency: number,
  signal: AbortSignal,
  run: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const within = AbortSignal.any([signal, failed.signal]);
  const queue = items.values();
  const workers = Array.from({ length: Math.min(concurrency, items.length) }, async () => {
    for (const item of queue) {
      try {
        within.throwIfAborted();
        await run(item, within);
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    }
  });
  await Promise.allSettled(workers);
  signal.throwIfAborted();
  failed.signal.throwIfAborted();
}

function asPullError(error: unknown, reference: ImageReference, signal: AbortSignal): unknown {
  if (error instanceof DarkroomError) return error;
  const image = formatReference(reference);
  if (signal.aborted) {
    if (!(signal.reason instanceof DOMException) || signal.reason.name !== 'TimeoutError') return signal.reason;
    return new DarkroomError('timeout', `Pulling ${image} took too long`, { retryable: true, cause: error });
  }
  return new DarkroomError('internal', `Pulling ${image}: ${messageOf(error)}`, { cause: error });
}
