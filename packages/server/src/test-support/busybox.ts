import { fillWithBusybox, shiftOwners } from './root-file-system.ts';
import { TEST_ID_BASE } from './test-runtime.ts';

/** The layer of a snapshot that has nothing but busybox, as `addSnapshot` takes it. */
export const busybox = {
  name: 'busybox',
  async fill(directory: string): Promise<void> {
    await fillWithBusybox(directory);
    await shiftOwners(directory, TEST_ID_BASE);
  },
};
