import type { Files, Model, SandboxModel, SnapshotModel } from './model.ts';
import type { Random } from './random.ts';
import type { Requests } from './requests.ts';

/** One of several that work at the same time, each on sandboxes and snapshots of its own, one operation after the other. */
export interface Client {
  index: number;
  requests: Requests;
  model: Model;
  /** Snapshots that all may use and nobody changes. */
  shared: readonly SnapshotModel[];
  images: readonly { reference: string; files: Files }[];
  /** A name that was never used, or one whose former bearer is gone. */
  newName(kind: 'sandboxes' | 'snapshots', random: Random): string;
  sandboxes(): SandboxModel[];
  snapshots(): SnapshotModel[];
}

export function createClient(
  options: Pick<Client, 'index' | 'requests' | 'model' | 'shared' | 'images'> & { cycle: number },
): Client {
  const { index, model, cycle } = options;
  let names = 0;
  return {
    ...options,
    newName(kind, random) {
      const free = model.freeNames[kind];
      if (free.length > 0 && random.chance(0.5)) return free.splice(random.below(free.length), 1)[0] ?? '';
      return `${kind === 'sandboxes' ? 'box' : 'shot'}-${cycle}-${index}-${++names}`;
    },
    sandboxes: () => [...model.sandboxes].filter(({ owner }) => owner === index),
    snapshots: () => [...model.snapshots].filter(({ owner }) => owner === index),
  };
}
