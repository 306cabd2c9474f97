/** States as the Daytona dialect names them; the core uses the same words. */
export const SNAPSHOT_STATES = [
  'building',
  'pending',
  'pulling',
  'snapshotting',
  'active',
  'inactive',
  'error',
  'build_failed',
  'removing',
] as const;
export type SnapshotState = (typeof SNAPSHOT_STATES)[number];

export const SANDBOX_STATES = [
  'pending_build',
  'building_snapshot',
  'creating',
  'starting',
  'started',
  'stopping',
  'stopped',
  'resizing',
  'pausing',
  'paused',
  'resuming',
  'destroying',
  'destroyed',
  'error',
] as const;
export type SandboxState = (typeof SANDBOX_STATES)[number];
