/**
 * The machine as the floors above see it: containers on this or another runner. Nothing here knows HTTP or SQL.
 */
import type { Socket } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';
import type { ContainerFiles } from './file-types.ts';
import type { StepRuntime } from './step-types.ts';

export type * from './file-types.ts';
export type * from './step-types.ts';

export interface ContainerLimits {
  /** Cores; fractions are allowed. */
  cpu: number;
  memoryBytes: number;
  pids: number;
  /** Of what it writes. Without it only the pool bounds that. */
  diskBytes?: number;
}

/** What a sandbox may reach of what sandboxes may reach at all, which is never the host, other sandboxes, private ranges (as configured). */
export interface NetworkPolicy {
  /** Nothing at all, whatever else is said here. */
  blockAll: boolean;
  /** IPv4 ranges, `a.b.c.d/n`. With these or `allowDomains` everything else is refused; an empty list is none. */
  allowRanges?: readonly string[] | undefined;
  /** Names, and `*.name` for all below one. No other name is looked up, and what these lead to can be reached. */
  allowDomains?: readonly string[] | undefined;
  /** To and from the outside, in megabits a second. */
  bandwidth?: { inMbps?: number | undefined; outMbps?: number | undefined } | undefined;
}

/** What runs the processes of a sandbox: the kernel by crun, or gVisor, which has a kernel of its own between. */
export type SandboxClass = 'container' | 'gvisor';

export interface ContainerSpec {
  id: string;
  hostname: string;
  /** Absolute paths of layer directories, base first. */
  layers: readonly string[];
  env: Readonly<Record<string, string>>;
  limits: ContainerLimits;
  network: NetworkPolicy;
  /** `container` without it. */
  sandboxClass?: SandboxClass;
}

export interface ContainerStatus {
  id: string;
  running: boolean;
  /** It runs, and its processes stand still. */
  paused: boolean;
  /** Host pid of the container's pid 1 while it runs. */
  pid: number | undefined;
}

export interface ContainerExit {
  id: string;
  /** What is known of the cause, for a person: `out of memory`, `ended`. */
  reason: string;
}

/** A user as a process runs under it, resolved in the container's own passwd and group files. */
export interface ProcessUser {
  uid: number;
  gid: number;
  additionalGids: number[];
  home: string;
  name: string;
}

export interface ExecSpec {
  argv: readonly string[];
  env: Readonly<Record<string, string>>;
  cwd: string;
  user: ProcessUser;
  /**
   * An open pipe or file of the host that takes stdout and stderr in place of the streams, which are then at their end: for a
   * process that must outlive the server. It becomes the user's; stdin is empty. The caller closes its own descriptor.
   */
  outputFd?: number;
  /** An open pipe of the host that the process gets as its descriptor 3. It becomes the user's. The caller closes its own. */
  inputFd?: number;
}

export interface ExecProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves when the first process ended; what it left in the background may still hold the streams open. */
  readonly exited: Promise<{ exitCode: number; signal: string | undefined }>;
  /** SIGKILLs the process and everything that it started, also what changed its session or its parent. Resolves when all are gone. */
  killTree(): Promise<void>;
}

export interface TerminalSpec extends Omit<ExecSpec, 'outputFd'> {
  cols: number;
  rows: number;
}

/** A process on a terminal of its container's own. */
export interface TerminalProcess {
  /**
   * What the terminal shows, and what is typed. Nothing is read ahead of who reads it, so that a program which writes without
   * end waits; at its end when no process has the terminal any more. Destroying it hangs the terminal up.
   */
  readonly stream: Duplex;
  /** The program in the foreground gets SIGWINCH. Nothing when the terminal has ended. */
  resize(size: { cols: number; rows: number }): void;
  /** Resolves when the first process ended; the last that it wrote may still be in the stream. */
  readonly exited: Promise<{ exitCode: number; signal: string | undefined }>;
  /** As of `ExecProcess`. */
  killTree(): Promise<void>;
}

/** What can change while a container runs. */
export type ChangedLimits = Pick<ContainerLimits, 'cpu' | 'memoryBytes' | 'diskBytes'>;

export interface SandboxUsage {
  /** Absent when it does not run. */
  run?: {
    memoryBytes: number;
    /** The part of `memoryBytes` that is a cache of files. */
    cacheBytes: number;
    memoryLimitBytes: number;
    /** Of all cores together, since it started. */
    cpuMicros: number;
    pids: number;
    /** Processes that the kernel killed because the memory limit was reached. */
    oomKills: number;
    rxBytes: number;
    txBytes: number;
  };
  /** Absent for one without a disk of its own. */
  disk?: { usedBytes: number; totalBytes: number };
}

/** A copy of what a sandbox has written over its layers. `release` removes what its caller has not moved elsewhere in the pool. */
export type CapturedFiles = {
  /** For how long who writes in the sandbox had to wait. */
  pausedMs: number;
  release(): Promise<void>;
} & (
  | {
      kind: 'disk';
      /** An ext4 with the directory `upper` in it; synced, and readable without its journal. */
      image: string;
    }
  | {
      kind: 'tree';
      /** In overlayfs form. */
      path: string;
    }
);

export interface SandboxRuntime {
  /** Commands over layers whose changes become a layer; for builds. Usable while this is open, and ended by `close`. */
  readonly steps: StepRuntime;
  /** Raises `invalid_request`, with the reason, when sandboxes of this class cannot run here. Tries it the first time. */
  checkClass(sandboxClass: SandboxClass): Promise<void>;
  /**
   * Mounts the layers under the container's own writable directory (kept from an earlier run, made at the first), starts pid 1
   * in a ready network namespace, and resolves when an exec can run. A second call while it runs raises `conflict`.
   * A half-done call leaves nothing running and nothing mounted.
   */
  start(spec: ContainerSpec): Promise<ContainerStatus>;
  /** SIGTERM to all processes, SIGKILL after `graceMs`. Keeps the writable directory. Nothing to do when it does not run. */
  stop(id: string, options: { graceMs: number }): Promise<void>;
  /** Stops it at once and removes everything of it. Idempotent. */
  remove(id: string): Promise<void>;
  /** Changes what a running container may reach, also by connections that it has. Outlives the server. Idempotent. */
  setNetwork(id: string, policy: NetworkPolicy): Promise<void>;
  /**
   * Changes the limits of a running container; one that does not run takes them at its next start. A disk only grows. Raises
   * `invalid_request` when it holds more memory than it shall have, or when a disk cannot grow while it is in use here.
   */
  resize(id: string, limits: ChangedLimits): Promise<void>;
  /** Stops every process where it is; memory stays. Nothing to do when it is paused. It stays so when the server restarts. */
  pause(id: string): Promise<void>;
  /** Lets the processes of a paused one go on. Nothing to do when it is not paused. */
  resume(id: string): Promise<void>;
  /**
   * Copies what a running, paused or stopped sandbox has written, as it is at one moment after the call; what was written before it is in it. With
   * a disk of its own this takes as long for one file as for a million. Raises `not_found` for one that never ran.
   */
  capture(id: string): Promise<CapturedFiles>;
  /** Does beforehand what takes longest in a capture or fork. Nothing has to wait for it, or for its success. */
  writeBack(id: string): Promise<void>;
  /**
   * Gives each of these new sandboxes, which `start` then starts, what this one has written, as it is at one moment. A failed call
   * leaves none of them.
   */
  fork(id: string, children: readonly string[]): Promise<{ pausedMs: number }>;
  /** Whether it was made by `fork`, and what of its files belongs to the other machine alone is still in them. */
  isUnsettledFork(id: string): boolean;
  /** Says that it is not any more, of one that runs. What was done to its files for it is on disk before. */
  settleFork(id: string): Promise<void>;
  usage(id: string): Promise<SandboxUsage>;
  /** What all containers of this Darkroom take together; undefined when none ever ran. */
  totals(): Promise<{ memoryBytes: number; cpuMicros: number; pids: number } | undefined>;
  /** Processes that the kernel killed at the memory limit since the last call; 0 when it does not run. */
  newOomKills(id: string): Promise<number>;
  /** What is really there: every container that runs or has a writable directory. */
  list(): Promise<ContainerStatus[]>;
  exec(id: string, spec: ExecSpec): Promise<ExecProcess>;
  /** Like `exec`, with a new pseudo-terminal of the container as the process's controlling terminal. */
  openTerminal(id: string, spec: TerminalSpec): Promise<TerminalProcess>;
  /** `name`, `uid`, `name:group`, `uid:gid`, or empty for root; undefined when the name is not in the container's passwd. */
  resolveUser(id: string, user: string): Promise<ProcessUser | undefined>;
  files(id: string): ContainerFiles;
  /**
   * A TCP connection to a server in the sandbox, made from inside its network, so that one on its loopback is reached too, and
   * whatever its network policy is. Half-open: who ends its own side still reads. The caller owns it and handles its errors.
   * Raises `not_found` when nothing listens, `timeout` when the server takes no connection, `conflict` when the sandbox does
   * not run.
   */
  connect(id: string, port: number, options?: { signal?: AbortSignal }): Promise<Socket>;
  /** TCP ports that something in the container listens on, in order. */
  listeningPorts(id: string): Promise<number[]>;
  /** Calls back when a container ends by itself (not by `stop` or `remove`), also one adopted after a restart. */
  onExit(listener: (exit: ContainerExit) => void): void;
  /** Makes ready namespaces and adopts the containers that run. */
  open(): Promise<void>;
  /** Releases what was made ahead of time. Containers go on running. */
  close(): Promise<void>;
}
