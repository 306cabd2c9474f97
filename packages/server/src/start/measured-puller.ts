import type { ImagePuller, LayerStore } from '../images/types.ts';
import type { DiskGuard } from '../platform/disk-guard.ts';
import type { Metrics } from '../platform/metrics.ts';

/** A puller whose pulls show in the metrics. */
export function measuredPuller(puller: ImagePuller, metrics: Metrics): ImagePuller {
  return {
    async pull(reference, options) {
      const started = performance.now();
      let downloaded = 0;
      let outcome: 'done' | 'failed' | 'cancelled' = 'failed';
      try {
        const image = await puller.pull(reference, {
          ...options,
          onProgress(progress) {
            metrics.addDownloadedBytes(progress.downloadedBytes - downloaded);
            downloaded = progress.downloadedBytes;
            options.onProgress?.(progress);
          },
        });
        outcome = 'done';
        return image;
      } finally {
        if (outcome === 'failed' && options.signal.aborted) outcome = 'cancelled';
        metrics.observePull({ outcome, seconds: (performance.now() - started) / 1000 });
      }
    },
  };
}

/** A layer store that takes no layers of pulls when the disk is nearly full. */
export function roomyLayers(store: LayerStore, disk: Pick<DiskGuard, 'assertRoom' | 'within'>): LayerStore {
  return {
    ...store,
    add: (diffId, fill, signal) =>
      store.add(
        diffId,
        async (directory, fillSignal) => {
          await disk.assertRoom();
          return disk.within(fillSignal, (bounded) => fill(directory, bounded));
        },
        signal,
      ),
  };
}

/** A layer store whose new layers show in the metrics. */
export function measuredLayers(store: LayerStore, metrics: Metrics): LayerStore {
  return {
    ...store,
    add: (diffId, fill, signal) =>
      store.add(
        diffId,
        async (directory, fillSignal) => {
          const filled = await fill(directory, fillSignal);
          metrics.addUnpackedBytes(filled.sizeBytes);
          return filled;
        },
        signal,
      ),
  };
}
