import type { ImagePuller } from '../types.ts';
import type { LayerHealth } from './layer-health.ts';

/**
 * A puller whose images are sound: damaged layers that were there are fetched again. What a caller knows already is not looked at here, as
 * it costs more than to find that nothing has changed: who puts something on it asks then.
 */
export function soundPuller(puller: ImagePuller, health: Pick<LayerHealth, 'ensureSound'>): ImagePuller {
  return {
    async pull(reference, options) {
      const image = await puller.pull(reference, options);
      if (image !== options.known) await health.ensureSound(image.layers, options.signal);
      return image;
    },
  };
}
