import type { SandboxState, SnapshotState } from '@darkroom/contract';

/**
 * The states of snapshots and sandboxes, and the only ways between them.
 *
 * A *moving* state has an owner (the server instance that works on it) and a deadline counted from entering it. When the
 * deadline passes, or the owner's lease ends, `onTimeout` is entered with a reason; following those alone always leads
 * to a resting state (a property test holds that). A *resting* state stays until somebody asks for a change.
 */
export type StateRule<S extends string> =
  | { kind: 'resting'; to: readonly S[] }
  | { kind: 'moving'; to: readonly S[]; deadlineSeconds: number; onTimeout: S; timeoutReason: string };

export type StateTable<S extends string> = Readonly<Record<S, StateRule<S>>>;

/** `gone` is the end of a removed snapshot: the row is deleted. */
export type SnapshotStep = SnapshotState | 'gone';

export const SNAPSHOT_TABLE = {
  pending: {
    kind: 'moving',
    to: ['pulling', 'building', 'error', 'removing'],
    // Waiting for its turn behind many others is no failure: as long as the pull before it may take.
    deadlineSeconds: 60 * 60,
    onTimeout: 'error',
    timeoutReason:
      'Its turn did not come within 60 minutes. Create it again; if few others were being pulled, look at the server log.',
  },
  pulling: {
    kind: 'moving',
    to: ['active', 'error', 'pending', 'removing'],
    deadlineSeconds: 60 * 60,
    onTimeout: 'error',
    timeoutReason:
      'Pulling the image took longer than 60 minutes. Check the connection to the registry and create the snapshot again.',
  },
  building: {
    kind: 'moving',
    // To itself when a server takes it up, and when its turn comes: the time counts from then on.
    to: ['building', 'active', 'error', 'build_failed', 'removing'],
    deadlineSeconds: 120 * 60,
    onTimeout: 'build_failed',
    timeoutReason: 'The build, or the wait for its turn, took longer than 120 minutes.',
  },
  // While the files of its sandbox are copied.
  snapshotting: {
    kind: 'moving',
    to: ['active', 'error', 'removing'],
    deadlineSeconds: 15 * 60,
    onTimeout: 'error',
    timeoutReason: 'Copying the files of the sandbox took longer than 15 minutes. Look at the disk of the server.',
  },
  // To `building` when its files turned out to be damaged and can be made again.
  active: { kind: 'resting', to: ['inactive', 'building', 'error', 'removing'] },
  inactive: { kind: 'resting', to: ['active', 'pending', 'building', 'error', 'removing'] },
  error: { kind: 'resting', to: ['removing'] },
  build_failed: { kind: 'resting', to: ['removing'] },
  removing: {
    kind: 'moving',
    to: ['gone'],
    deadlineSeconds: 5 * 60,
    onTimeout: 'gone',
    timeoutReason: 'Removed.',
  },
  gone: { kind: 'resting', to: [] },
} as const satisfies StateTable<SnapshotStep>;

export const SANDBOX_TABLE = {
  // Of a sandbox that is made from an image or a Dockerfile: before the build, and during it.
  pending_build: {
    kind: 'moving',
    to: ['pending_build', 'building_snapshot', 'error', 'destroying'],
    deadlineSeconds: 120 * 60,
    onTimeout: 'error',
    timeoutReason: 'The turn of the build did not come within 120 minutes.',
  },
  building_snapshot: {
    kind: 'moving',
    to: ['pending_build', 'building_snapshot', 'creating', 'error', 'destroying'],
    deadlineSeconds: 120 * 60,
    onTimeout: 'error',
    timeoutReason: 'The build took longer than 120 minutes.',
  },
  creating: {
    kind: 'moving',
    to: ['started', 'error', 'destroying'],
    deadlineSeconds: 60,
    onTimeout: 'error',
    timeoutReason: 'The sandbox did not start within 60 seconds.',
  },
  starting: {
    kind: 'moving',
    to: ['started', 'stopped', 'error', 'destroying'],
    deadlineSeconds: 60,
    onTimeout: 'error',
    timeoutReason: 'The sandbox did not start within 60 seconds.',
  },
  started: { kind: 'resting', to: ['stopping', 'stopped', 'resizing', 'pausing', 'error', 'destroying'] },
  stopping: {
    kind: 'moving',
    to: ['stopped', 'error', 'destroying'],
    deadlineSeconds: 60,
    onTimeout: 'error',
    timeoutReason: 'The sandbox did not stop within 60 seconds.',
  },
  // To `error` when its files turned out to be gone.
  stopped: { kind: 'resting', to: ['starting', 'resizing', 'error', 'destroying'] },
  resizing: {
    kind: 'moving',
    to: ['started', 'stopped', 'error', 'destroying'],
    deadlineSeconds: 60,
    onTimeout: 'error',
    timeoutReason: 'The sandbox was not resized within 60 seconds. Start it again: it has its new size then.',
  },
  pausing: {
    kind: 'moving',
    to: ['paused', 'started', 'stopped', 'error', 'destroying'],
    deadlineSeconds: 60,
    onTimeout: 'error',
    timeoutReason: 'The sandbox did not pause within 60 seconds. Start it again; its files are kept.',
  },
  // Its processes stand still and keep their memory.
  paused: { kind: 'resting', to: ['resuming', 'stopping', 'stopped', 'error', 'destroying'] },
  resuming: {
    kind: 'moving',
    to: ['started', 'paused', 'stopped', 'error', 'destroying'],
    deadlineSeconds: 60,
    onTimeout: 'error',
    timeoutReason: 'The sandbox did not resume within 60 seconds. Start it again; its files are kept.',
  },
  error: { kind: 'resting', to: ['starting', 'destroying'] },
  destroying: {
    kind: 'moving',
    to: ['destroyed'],
    deadlineSeconds: 5 * 60,
    onTimeout: 'destroyed',
    timeoutReason: 'Removed.',
  },
  destroyed: { kind: 'resting', to: [] },
} as const satisfies StateTable<SandboxState>;

/** The states that the table allows to go to `To`. */
export type StepsBefore<Table extends StateTable<string>, To> = {
  [From in keyof Table]: To extends Table[From]['to'][number] ? From : never;
}[keyof Table];
