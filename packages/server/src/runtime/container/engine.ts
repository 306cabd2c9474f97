import type { Socket } from 'node:net';
import type { ExecProcess, SandboxClass, TerminalProcess, TerminalSpec } from '../types.ts';
import type { ConfigInput } from './container-config.ts';
import type { ContainerHost } from './container-host.ts';
import type { Stdio } from './crun.ts';
import type { ExecAttempt } from './exec-attempt.ts';
import type { LiveContainer } from './live-container.ts';

/** A running container as the host's kernel sees it. */
export interface ContainerProcess {
  /** Whose end is the container's end, and whose network is the container's. */
  pid: number;
  /** Tells the process from a later one with its pid. */
  startTime: number;
  /** Whose root directory is the container's. */
  rootPid: number;
}

/** The end of a command, and the way to bring it about. */
export type StartedCommand = Pick<ExecProcess, 'exited' | 'killTree'>;

/**
 * What runs the processes of containers. crun's are the kernel's own, and anybody can look at them; those of gVisor are known to
 * gVisor alone, so whatever finds, signals or connects to them is here, and all the rest is the same for both.
 */
export interface ContainerEngine {
  readonly sandboxClass: SandboxClass;
  /** Raises `invalid_request`, with the reason, when it cannot run containers here. Tries it the first time. */
  check(): Promise<void>;
  /** Resolves when pid 1 runs. Needs the mounts of the description, until it has resolved. */
  run(host: ContainerHost, id: string, input: ConfigInput): Promise<void>;
  /** Undefined when it never ran, or only half. Whether it still runs is for the kernel to say. */
  status(id: string): ContainerProcess | undefined;
  /** Kills whatever is left of it and forgets it. Nothing to do for another engine's. Idempotent. */
  delete(host: ContainerHost, id: string): Promise<void>;
  list(): Promise<string[]>;
  exec(host: ContainerHost, container: LiveContainer, attempt: ExecAttempt, stdio: Stdio): StartedCommand;
  openTerminal(
    host: ContainerHost,
    container: LiveContainer,
    attempt: ExecAttempt,
    spec: TerminalSpec,
  ): Promise<TerminalProcess>;
  /** Ends a command that an earlier server began: `pid` is the host's program that waits for it, `file` its description. */
  endLeftover(host: ContainerHost, id: string, leftover: { pid: number; file: string }): Promise<void>;
  /** SIGTERM to everything but pid 1; resolves when all have ended, or when the grace is over. */
  terminate(host: ContainerHost, container: LiveContainer, graceMs: number): Promise<void>;
  connect(
    host: ContainerHost,
    container: LiveContainer,
    port: number,
    options: { address: string; signal?: AbortSignal | undefined },
  ): Promise<Socket>;
  listeningPorts(host: ContainerHost, container: LiveContainer): Promise<number[]>;
  close(): void;
}

/** Of both kinds; one that only cleans up after an earlier server is there all the same. */
export type Engines = Readonly<Record<SandboxClass, ContainerEngine>>;

/** Whose a container is that may not run any more; crun's, when nobody knows it. */
export function engineOf(engines: Engines, id: string): ContainerEngine {
  return Object.values(engines).find((engine) => engine.status(id) !== undefined) ?? engines.container;
}
