import type { Readable } from 'node:stream';
import type { SandboxFiles } from '../../../sandboxes/toolbox/index.ts';

/** A failed write leaves the rest of its part unread, and with it the whole request: read it to be able to answer. */
export async function writeOrDrain(files: SandboxFiles, path: string, content: Readable): Promise<void> {
  try {
    await files.write(path, content);
  } catch (error) {
    content.on('error', () => {});
    content.resume();
    throw error;
  }
}
