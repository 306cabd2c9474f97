import type { Collector, GarbageItem } from '../garbage/collector.ts';
import type { OpenLayerStore } from '../images/layer-store.ts';
import { bytesOf } from './captured-files.ts';

/** What calls that never ended, or a server that was killed, left of layers: half-made and half-removed ones. Nobody works with them. */
export function createStaging(store: Pick<OpenLayerStore, 'listLitter' | 'sweepLitter'>): Collector {
  async function plan(): Promise<GarbageItem[]> {
    const items: GarbageItem[] = [];
    for (const path of await store.listLitter()) {
      // It may go while it is looked at.
      const sizeBytes = await bytesOf(path).catch(() => undefined);
      items.push({ kind: 'staging', id: path, sizeBytes, goes: 'sweep', why: 'a layer that was never finished' });
    }
    return items;
  }
  return {
    plan,
    async collect() {
      const before = await plan();
      const gone = new Set(await store.sweepLitter());
      return before.filter(({ id }) => gone.has(id));
    },
  };
}
