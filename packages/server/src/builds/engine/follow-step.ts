import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { StepExit, StepProcess } from '../../runtime/step-types.ts';
import type { ContainerLimits } from '../../runtime/types.ts';
import type { StepEvent } from '../cache/step-cache.ts';
import { BuildFailure } from '../failure.ts';
import type { RedactedStream, Redactor } from '../logs/redactor.ts';
import { formatBytes, limitExceeded } from './step-failure.ts';

export interface FollowOptions {
  signal: AbortSignal;
  report: (event: StepEvent) => void;
  /** Of the secrets that the step has: other builds with other secrets may be told what it writes. */
  redactor: Redactor;
  /** For errors. */
  command: string;
  limits: ContainerLimits & { stepSeconds: number };
}

/** When everything has ended, the pipes have too; more than this a broken one is not waited for. */
const LAST_WORDS_MS = 5000;
const MAX_SHOWN = 300;
const MAX_COMMAND = 4096;

/** Reads a step to its end, within its time. Raises `BuildFailure` when it did not succeed, or the signal's reason when it was killed for that. */
export async function followStep(process: StepProcess, options: FollowOptions): Promise<void> {
  const { signal, report, redactor, limits } = options;
  let isLate = false;
  // That it ended is heard below.
  const kill = () => void process.kill().catch(() => {});
  const onAbort = () => kill();
  const timer = setTimeout(() => {
    isLate = true;
    kill();
  }, limits.stepSeconds * 1000);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) kill();
  const outputs = Promise.all([
    read(process.stdout, redactor.stream(), (bytes) => report({ kind: 'output', stream: 'stdout', bytes })),
    read(process.stderr, redactor.stream(), (bytes) => report({ kind: 'output', stream: 'stderr', bytes })),
  ]);
  let exit: StepExit;
  try {
    exit = await process.exited;
    const enough = new AbortController();
    await Promise.race([outputs, delay(LAST_WORDS_MS, undefined, { signal: enough.signal }).catch(() => {})]);
    enough.abort();
  } finally {
    process.stdout.destroy();
    process.stderr.destroy();
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
  signal.throwIfAborted();
  const failure = failureOf(exit, isLate, options);
  if (failure !== undefined) throw failure;
}

async function read(
  stream: Readable,
  { push, end }: RedactedStream,
  onBytes: (bytes: Uint8Array) => void,
): Promise<void> {
  const tell = (bytes: Uint8Array) => {
    if (bytes.length > 0) onBytes(bytes);
  };
  try {
    for await (const chunk of stream) tell(push(chunk));
  } catch {
    // It was cut off: how the step ended says more.
  }
  tell(end());
}

function failureOf(exit: StepExit, isLate: boolean, { command, limits }: FollowOptions): BuildFailure | undefined {
  const { exitCode } = exit;
  // One that reached a limit with its last words may have ended well.
  const failedWith = exitCode === 0 ? undefined : exitCode;
  const step = { number: 0, line: 0, text: '', command: command.slice(0, MAX_COMMAND), exitCode: failedWith };
  const stopped = (why: string, hint: string) => limitExceeded(`${shown(command)} ${why}`, hint, step);
  if (isLate) {
    return stopped(
      `was ended because it took longer than the ${limits.stepSeconds} seconds that a step has`,
      'Split the step, or have the time limit of builds raised.',
    );
  }
  switch (exit.exceeded) {
    case 'disk':
      return stopped(
        `was ended because it wrote more than the ${formatBytes(limits.diskBytes ?? 0)} that are left to it`,
        'Remove in the same step what is not needed later, or have the disk limit of builds raised.',
      );
    case 'mounted':
      return stopped(
        'was ended because the caches that it has mounted became larger than all caches of builds may be',
        'Let it remove from them what it does not need, or have the limit of cache mounts raised.',
      );
    case 'pool':
      return new BuildFailure(`${shown(command)} was ended because the disk of the server is almost full`, {
        class: 'limit_exceeded',
        code: 'insufficient_storage',
        hint: 'Delete snapshots that are not needed, or enlarge the pool, and build again.',
        step,
        retryable: true,
      });
    case 'memory':
      if (exitCode === 0) break;
      return stopped(
        `needed more than the ${formatBytes(limits.memoryBytes)} of memory that a step has (exit code ${exitCode})`,
        'Let it do less at a time, or have the memory of builds raised.',
      );
    case undefined:
      break;
  }
  if (exitCode === 0) return undefined;
  if (exit.pidsExceeded) {
    return stopped(
      `started more than the ${limits.pids} processes that a step may have at a time (exit code ${exitCode})`,
      'Let it do less at a time, or have the limit of processes of builds raised.',
    );
  }
  return new BuildFailure(`${shown(command)} ended with exit code ${exitCode}`, {
    class: 'user',
    code: 'invalid_request',
    step,
    retryable: false,
  });
}

function shown(command: string): string {
  const line = command.trim();
  return `the command ${JSON.stringify(line.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN)}…` : line)}`;
}
