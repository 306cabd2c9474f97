import type { ImageConfig, Layer } from '../../images/types.ts';
import { DarkroomError } from '../../platform/errors.ts';
import { createSemaphore } from '../../runtime/semaphore.ts';
import type { BuildDefinition } from '../types.ts';
import type { BuildEngineDeps } from './engine-deps.ts';

export interface ObtainedImage {
  layers: Layer[];
  config: ImageConfig;
}

/** The images that a build begins from or copies from; each is obtained once. */
export interface StageImages {
  /** `note` gets the progress, unless another asked before. */
  obtain(reference: string, note: (text: string) => void): Promise<ObtainedImage>;
  /** Resolves when nothing is obtained any more. */
  settled(): Promise<void>;
}

/** More at a time would not be faster. */
const PULLS = 4;

export function createStageImages(
  { baseImages, layers }: Pick<BuildEngineDeps, 'baseImages' | 'layers'>,
  { organizationId, limits }: BuildDefinition,
  signal: AbortSignal,
): StageImages {
  const images = new Map<string, Promise<ObtainedImage>>();
  const inTurn = createSemaphore(PULLS);

  async function pull(reference: string, note: (text: string) => void): Promise<ObtainedImage> {
    signal.throwIfAborted();
    const request = { organizationId, reference, maxBytes: limits.maxBytes, note };
    const base = await baseImages.obtain(request, signal);
    const found = await Promise.all(
      base.layers.map(async (diffId) => {
        const layer = await layers.get(diffId);
        if (layer !== undefined) return layer;
        throw new DarkroomError('unavailable', `a layer of ${reference} was removed meanwhile`, { retryable: true });
      }),
    );
    return { layers: found, config: base.config };
  }

  return {
    obtain(reference, note) {
      const known = images.get(reference) ?? inTurn(() => pull(reference, note));
      // Whoever waits for it hears of a failure.
      known.catch(() => {});
      images.set(reference, known);
      return known;
    },
    settled: async () => void (await Promise.allSettled(images.values())),
  };
}
