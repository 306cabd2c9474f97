import type { Readable } from 'node:stream';

/**
 * Reads an output to its end into a log. What the log does not take (its disk is full) is lost and the rest is read on: the
 * process must not wait for a log. A failure is told once, and again after the log has taken something in between.
 */
export async function keepOutput(
  output: Readable,
  log: { append(chunk: Uint8Array): Promise<void> },
  onFailure: (error: unknown) => void,
): Promise<void> {
  let failing = false;
  try {
    for await (const chunk of output) {
      try {
        await log.append(chunk);
        failing = false;
      } catch (error) {
        if (!failing) onFailure(error);
        failing = true;
      }
    }
  } catch {
    // We let go of it, or the pipe broke: there is no more to read.
  }
}
