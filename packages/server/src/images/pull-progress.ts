import type { PullProgress } from './types.ts';

export interface ProgressMeter {
  /** `missing`: bytes to fetch for each layer that is not there yet. */
  start(missing: ReadonlyMap<string, number>, layersTotal: number): void;
  downloaded(diffId: string, bytes: number): void;
  layerReady(diffId: string): void;
  done(): void;
}

/** Often enough for a person, seldom enough for a database. */
const INTERVAL_MS = 250;

export function createProgressMeter(onProgress: ((progress: PullProgress) => void) | undefined): ProgressMeter {
  const state: PullProgress = { phase: 'resolving', downloadedBytes: 0, totalBytes: 0, layersReady: 0, layersTotal: 0 };
  const bytes = new Map<string, number>();
  let missing: ReadonlyMap<string, number> = new Map();
  let last = 0;
  const emit = () => {
    last = performance.now();
    try {
      onProgress?.({ ...state });
    } catch {
      // A download may serve several pulls: who only watches one of them must not end it.
    }
  };
  const note = (diffId: string, value: number) => {
    state.downloadedBytes += value - (bytes.get(diffId) ?? 0);
    bytes.set(diffId, value);
  };
  emit();
  return {
    start(sizes, layersTotal) {
      missing = sizes;
      state.phase = 'downloading';
      state.layersTotal = layersTotal;
      state.layersReady = layersTotal - sizes.size;
      state.totalBytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
      emit();
    },
    downloaded(diffId, value) {
      note(diffId, value);
      if (performance.now() - last >= INTERVAL_MS) emit();
    },
    layerReady(diffId) {
      // Another pull may have fetched it under our hands, from a blob of another size.
      note(diffId, missing.get(diffId) ?? 0);
      state.layersReady += 1;
      emit();
    },
    done() {
      state.phase = 'done';
      emit();
    },
  };
}
