import type { Readable } from 'node:stream';
import { createPace } from './output-pace.ts';

/**
 * A process that writes more waits. Only the end of all that is kept: to read a flood as fast as it comes would take the time and
 * the disk of the server from others, for nothing.
 */
const BYTES_PER_SECOND = 8 * 1024 * 1024;

/**
 * Reads an output to its end into a log. What the log does not take (its disk is full) is lost and the rest is read on: the
 * process must not wait for a log that is broken. A failure is told once, and again after the log has taken something in between.
 */
export async function keepOutput(
  output: Readable,
  log: { append(chunk: Uint8Array): Promise<void> },
  onFailure: (error: unknown) => void,
): Promise<void> {
  let failing = false;
  const pace = createPace(BYTES_PER_SECOND);
  try {
    for await (const chunk of output) {
      try {
        await log.append(chunk);
        failing = false;
      } catch (error) {
        if (!failing) onFailure(error);
        failing = true;
      }
      await pace(chunk.length);
    }
  } catch {
    // We let go of it, or the pipe broke: there is no more to read.
  }
}
