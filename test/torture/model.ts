/**
 * What a server must have after a restart, as its clients were told. An operation that was answered has happened; one that was not may
 * have happened or not, so what it concerns has several fates, until somebody looks.
 */
export type SandboxFate = 'absent' | 'started' | 'stopped' | 'paused' | 'error';
export type SnapshotFate = 'absent' | 'active' | 'inactive' | 'error' | 'build_failed';

/** SHA-256 of a file's content by its path; undefined where a write was not answered. */
export type Files = ReadonlyMap<string, string | undefined>;

export interface SandboxModel {
  name: string;
  /** Undefined until an answer or a look told it. */
  id: string | undefined;
  fates: ReadonlySet<SandboxFate>;
  files: Files;
  /** Whether a command was left in the background of it. */
  hasCommand: boolean | undefined;
  /** Cores; undefined while they are changed. */
  cpu: number | undefined;
  owner: number;
}

export interface SnapshotModel {
  name: string;
  id: string | undefined;
  fates: ReadonlySet<SnapshotFate>;
  files: Files;
  /** Whether it was seen in the state that it must come to. */
  settled: boolean;
  /** Captures on top of each other. */
  depth: number;
  owner: number;
  /** Locked against deletion. */
  retained: boolean | undefined;
  /** Whether a sandbox of it was looked at since it was made. */
  verified: boolean;
}

export interface Model {
  sandboxes: Set<SandboxModel>;
  snapshots: Set<SnapshotModel>;
  /** Uploads that were answered, with the content of their one file. */
  contexts: Map<string, { hash: string; sha256: string }>;
  /** Names of snapshots and sandboxes whose deletion was answered. */
  freeNames: { snapshots: string[]; sandboxes: string[] };
}

export function emptyModel(): Model {
  return {
    sandboxes: new Set(),
    snapshots: new Set(),
    contexts: new Map(),
    freeNames: { snapshots: [], sandboxes: [] },
  };
}

export const only = <F>(fate: F): ReadonlySet<F> => new Set([fate]);

export function isSurely<F extends string>(thing: { fates: ReadonlySet<F> }, fate: F): boolean {
  return thing.fates.size === 1 && thing.fates.has(fate);
}

/** Something is being done to it: until the answer comes, it may be either. */
export function inDoubt<F extends string>(thing: { fates: ReadonlySet<F> }, ...fates: readonly F[]): void {
  thing.fates = new Set([...thing.fates, ...fates]);
}

/** The files with one that somebody begins to write or delete. */
export function fileInDoubt(thing: { files: Files }, ...paths: readonly string[]): void {
  const files = new Map(thing.files);
  for (const path of paths) files.set(path, undefined);
  thing.files = files;
}

export function setFile(thing: { files: Files }, path: string, sha256: string): void {
  thing.files = new Map([...thing.files, [path, sha256]]);
}

export function dropFile(thing: { files: Files }, path: string): void {
  thing.files = new Map([...thing.files].filter(([name]) => name !== path));
}
