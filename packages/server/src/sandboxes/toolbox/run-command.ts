import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { DarkroomError } from '../../platform/errors.ts';
import type { ExecProcess, ExecSpec } from '../../runtime/types.ts';
import type { SandboxContext } from '../types.ts';
import { ArtifactFilter } from './artifact-filter.ts';
import type { BackgroundOutputs } from './background-outputs.ts';
import { OutputSpool } from './output-spool.ts';

/**
 * What the command left in the background may hold its output open for ever. All that the command itself wrote is in the pipe
 * when it ends; this is for reading that, and counts again with every piece that comes, up to the longest.
 */
const DRAIN_QUIET_MS = 60;
const DRAIN_MAX_MS = 2_000;
/** The kernel ends killed processes at once, unless they hang in a broken device. */
const KILL_MAX_MS = 5_000;

export interface CommandSpec extends ExecSpec {
  input?: string;
  timeoutSeconds: number;
  /** Takes chart lines out of the output. */
  findsCharts?: boolean;
}

export interface CommandResult {
  exitCode: number;
  /** Close it when it was read. */
  output: OutputSpool;
  charts: unknown[];
  /** Processes were killed at the sandbox's memory limit meanwhile; the output ends with a word of it. */
  outOfMemory?: boolean;
}

/** Runs a command in a sandbox to its end. A missed time-out and a caller that went away end everything that it started. */
export async function runCommand(
  context: SandboxContext & { backgroundOutputs: BackgroundOutputs },
  sandboxId: string,
  spec: CommandSpec,
  signal: AbortSignal,
): Promise<CommandResult> {
  const { input, timeoutSeconds, findsCharts, ...exec } = spec;
  signal.throwIfAborted();
  const endUse = context.activity.begin(sandboxId);
  const { spoolDirectory: directory, maxOutputBytes: maxBytes } = context.settings;
  const output = new OutputSpool({ directory, maxBytes });
  let streams: Collected | undefined;
  try {
    const child = await context.runtime.exec(sandboxId, exec);
    const filter = findsCharts ? new ArtifactFilter() : undefined;
    streams = collect(child, output, filter);
    // A command may end without reading its input.
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
    const exitCode = await ended(context, sandboxId, child, { timeoutSeconds, signal });
    await drained(streams);
    for (const piece of filter?.end() ?? []) await output.write(piece);
    return { exitCode, output, charts: filter?.charts ?? [] };
  } catch (error) {
    streams?.detach();
    await output.close();
    throw error;
  } finally {
    context.backgroundOutputs.keep(sandboxId, streams?.open() ?? []);
    endUse();
  }
}

async function ended(
  context: SandboxContext,
  sandboxId: string,
  child: ExecProcess,
  bounds: { timeoutSeconds: number; signal: AbortSignal },
): Promise<number> {
  const stop = Promise.withResolvers<DarkroomError>();
  const timeout = new DarkroomError('timeout', 'command execution timeout', { retryable: true });
  const timer = setTimeout(() => stop.resolve(timeout), bounds.timeoutSeconds * 1000);
  const onAbort = () => stop.resolve(new DarkroomError('timeout', 'the client closed the connection'));
  bounds.signal.addEventListener('abort', onAbort, { once: true });
  if (bounds.signal.aborted) onAbort();
  try {
    const first = await Promise.race([child.exited, stop.promise]);
    if (!(first instanceof DarkroomError)) return first.exitCode;
    const killed = Promise.all([child.killTree(), child.exited]);
    context.background(`end a command in sandbox ${sandboxId}`, killed);
    await Promise.race([killed.catch(() => {}), delay(KILL_MAX_MS, undefined, { ref: false })]);
    throw first;
  } finally {
    clearTimeout(timer);
    bounds.signal.removeEventListener('abort', onAbort);
  }
}

interface Collected {
  done: Promise<unknown>;
  /** When the last piece came. */
  lastAt: () => number;
  /** From now on pieces are read and dropped: a background process must not die of a closed pipe. */
  detach: () => void;
  /** What is not at its end. */
  open: () => Readable[];
}

function collect(child: ExecProcess, output: OutputSpool, filter: ArtifactFilter | undefined): Collected {
  let lastAt = performance.now();
  let detached = false;
  async function read(stream: Readable): Promise<void> {
    try {
      for await (const chunk of stream) {
        if (detached) continue;
        lastAt = performance.now();
        const piece = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
        for (const part of filter?.push(piece) ?? [piece]) await output.write(part);
      }
    } catch {
      // A broken pipe ends the output; the exit code says how the command ended.
    }
  }
  return {
    done: Promise.all([read(child.stdout), read(child.stderr)]),
    lastAt: () => lastAt,
    detach: () => {
      detached = true;
    },
    open: () => [child.stdout, child.stderr].filter((stream) => !stream.readableEnded),
  };
}

async function drained(streams: Collected): Promise<void> {
  const began = performance.now();
  const done = streams.done.then(() => true);
  for (;;) {
    const now = performance.now();
    const quietSince = Math.max(streams.lastAt(), began);
    if (now - began > DRAIN_MAX_MS || now - quietSince > DRAIN_QUIET_MS) break;
    if (await Promise.race([done, delay(DRAIN_QUIET_MS / 2, false)])) return;
  }
  streams.detach();
}
