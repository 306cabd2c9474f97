import { chown } from 'node:fs/promises';
import { addBash, addPython, fillWithBusybox, shiftOwners } from './root-file-system.ts';
import { TEST_ID_BASE } from './test-runtime.ts';

/** The layer of a snapshot, as `addSnapshot` takes it. */
export interface Layer {
  name: string;
  fill(directory: string): Promise<void>;
}

/** Busybox, and what these put beside it. */
export const busyboxWith = (name: string, ...additions: ((directory: string) => Promise<void>)[]): Layer => ({
  name,
  async fill(directory) {
    await fillWithBusybox(directory);
    for (const add of additions) await add(directory);
    await shiftOwners(directory, TEST_ID_BASE);
  },
});

export const busybox = busyboxWith('busybox');
export const bash = busyboxWith('bash', addBash);
export const python = busyboxWith('python', addPython);

/** No program at all. */
export const empty: Layer = { name: 'empty', fill: (directory) => chown(directory, TEST_ID_BASE, TEST_ID_BASE) };
