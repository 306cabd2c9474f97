/**
 * Steps of builds as the floors above see them: one command over layers, whose changes become a layer. Nothing here knows Dockerfiles.
 */
import type { Readable } from 'node:stream';
import type { ContainerLimits } from './types.ts';

export interface StepSpec {
  /** Of this run alone. */
  id: string;
  /** Absolute paths of layer directories, base first; none for an empty root. */
  layers: readonly string[];
  /** An empty directory on the pool that takes the changes, in overlayfs form, without places that something was mounted on. */
  upper: string;
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Absolute, and there. */
  cwd: string;
  /** As USER has it: `name`, `uid`, `name:group`, `uid:gid`, or empty for root. */
  user: string;
  /** `diskBytes` is the most that the upper directory may hold. */
  limits: ContainerLimits;
  /** `none` has a loopback interface alone. */
  network: 'default' | 'none';
  mounts: readonly StepMount[];
  /** The most that directories of the host may hold together that it may write to. */
  mountedBytes?: number | undefined;
}

/** What a step has beside its root. Later ones may lie inside of earlier ones. Targets are absolute; what is missing there is made for the step alone. */
export type StepMount =
  /** A directory or file below `root`, found without leaving it. Unless `writable`, nobody writes there. */
  | { kind: 'bind'; root: string; path: string; target: string; writable: boolean }
  /** The merged layers, or what is at `path` in them. What is written there is thrown away; without `writable` nothing can be. */
  | { kind: 'layers'; layers: readonly string[]; path: string; target: string; writable: boolean }
  /** The same of a directory of the host that nobody changes meanwhile. */
  | { kind: 'tree'; root: string; path: string; target: string; writable: boolean }
  | { kind: 'tmpfs'; target: string; sizeBytes: number | undefined }
  /** In memory only; gone with the step. */
  | { kind: 'file'; target: string; content: Uint8Array; uid: number; gid: number; mode: number };

export interface StepExit {
  /** As a shell has it: 128 + n for signal n. */
  exitCode: number;
  /** Why it was ended from outside, if it was. */
  exceeded: 'memory' | 'disk' | 'mounted' | 'pool' | undefined;
  /** The number of processes reached its limit. */
  pidsExceeded: boolean;
  /** The most memory that it had at a time; undefined where the kernel does not tell. */
  peakMemoryBytes: number | undefined;
}

export interface StepProcess {
  /** Both must be read to their ends; nothing is read ahead. */
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves when nothing of the step runs any more, all its mounts are gone and `upper` is complete (not synced). */
  readonly exited: Promise<StepExit>;
  /** Ends the whole tree at once. Resolves with `exited`. */
  kill(): Promise<void>;
}

/** Merged layers, to be read through a descriptor. Nobody can write there. */
export interface MergedTree {
  readonly directory: number;
  close(): void;
}

export interface StepRuntime {
  /**
   * Starts the step. Raises `invalid_request` for a user or a working directory that is not there, a program that cannot be
   * started is an exit code of 126 or 127 with words on stderr, as a shell would. A half-done call leaves nothing running or mounted. What a
   * server that was killed left running is ended before the next one serves.
   */
  run(spec: StepSpec): Promise<StepProcess>;
  openTree(layers: readonly string[]): Promise<MergedTree>;
}
