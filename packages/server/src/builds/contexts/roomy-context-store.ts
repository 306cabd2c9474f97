import type { DiskGuard } from '../../platform/disk-guard.ts';
import type { ContextStore } from './context-store.ts';

/** Begins no new upload when the disk is nearly full. One that is under way goes on as long as `local-files.ts` leaves its reserve. */
export function roomyContextStore(store: ContextStore, disk: Pick<DiskGuard, 'assertRoom'>): ContextStore {
  return {
    ...store,
    async put(key, body) {
      await disk.assertRoom();
      return store.put(key, body);
    },
    async beginUpload(key) {
      await disk.assertRoom();
      return store.beginUpload(key);
    },
  };
}
