import { Readable } from 'node:stream';
import type { SandboxFiles } from '../../../sandboxes/toolbox/index.ts';

/**
 * A failed write leaves the rest of its part unread, and with it the whole request: it is read to be able to answer. The write
 * gets a stream of its own, because who destroys a part ends the parser of the form.
 */
export async function writeOrDrain(files: Pick<SandboxFiles, 'write'>, path: string, content: Readable): Promise<void> {
  try {
    await files.write(path, Readable.from(content.iterator({ destroyOnReturn: false }), { objectMode: false }));
  } catch (error) {
    content.on('error', () => {});
    content.resume();
    throw error;
  }
}
