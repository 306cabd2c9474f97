import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { DarkroomError, invalidRequest } from '../../../platform/errors.ts';
import type { ExecProcess, ExecSpec } from '../../../runtime/types.ts';
import type { SandboxContext } from '../../types.ts';

/** A hook may leave something in the background that holds the output open for ever. */
const DRAIN_MAX_MS = 1_000;
const KILL_MAX_MS = 5_000;
/** The end is what says why it failed. */
const MAX_STDERR_BYTES = 16 * 1024;

export interface GitOutput {
  exitCode: number;
  stdout: string;
  stderr: string;
}

/** Runs one program to its end, in bounded time and memory. A caller that went away ends it and everything it started. */
export async function runBounded(
  context: Pick<SandboxContext, 'runtime' | 'background'>,
  sandboxId: string,
  spec: ExecSpec & { input: string; maxOutputBytes: number },
  signal: AbortSignal,
): Promise<GitOutput> {
  const { input, maxOutputBytes, ...exec } = spec;
  signal.throwIfAborted();
  const child = await context.runtime.exec(sandboxId, exec);
  const stop = Promise.withResolvers<DarkroomError>();
  const onAbort = () => stop.resolve(abortError(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  const stdout = collect(child.stdout, {
    maxBytes: maxOutputBytes,
    onOverflow: () =>
      stop.resolve(
        invalidRequest(`git's answer is larger than ${maxOutputBytes} bytes, which is more than can be sent`),
      ),
  });
  const stderr = collect(child.stderr, { maxBytes: MAX_STDERR_BYTES });
  // It may end without reading its input.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  try {
    const first = await Promise.race([child.exited, stop.promise]);
    if (first instanceof DarkroomError) {
      await killed(context, sandboxId, child);
      throw first;
    }
    await Promise.race([Promise.all([stdout.done, stderr.done]), delay(DRAIN_MAX_MS)]);
    return { exitCode: first.exitCode, stdout: stdout.text(), stderr: stderr.text() };
  } finally {
    signal.removeEventListener('abort', onAbort);
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
  }
}

async function killed(
  context: Pick<SandboxContext, 'background'>,
  sandboxId: string,
  child: ExecProcess,
): Promise<void> {
  const gone = Promise.all([child.killTree(), child.exited]);
  context.background(`end git in sandbox ${sandboxId}`, gone);
  await Promise.race([gone.catch(() => {}), delay(KILL_MAX_MS, undefined, { ref: false })]);
}

function abortError(signal: AbortSignal): DarkroomError {
  if (signal.reason instanceof DarkroomError) return signal.reason;
  return new DarkroomError('timeout', 'the client closed the connection');
}

/** Keeps the last `maxBytes`; where more is a failure, `onOverflow` hears of it once. */
function collect(stream: Readable, bounds: { maxBytes: number; onOverflow?: () => void }) {
  const pieces: Buffer[] = [];
  let kept = 0;
  async function read(): Promise<void> {
    try {
      for await (const chunk of stream) {
        const piece = Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk));
        pieces.push(piece);
        kept += piece.length;
        if (kept > bounds.maxBytes) bounds.onOverflow?.();
        while (kept > bounds.maxBytes && pieces.length > 1) kept -= pieces.shift()?.length ?? 0;
      }
    } catch {
      // A broken pipe ends the output; the exit code says how git ended.
    }
  }
  return { done: read(), text: () => Buffer.concat(pieces).toString('utf8') };
}
