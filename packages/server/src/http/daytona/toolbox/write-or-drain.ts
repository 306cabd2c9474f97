import { Readable } from 'node:stream';
import type { SandboxFiles } from '../../../sandboxes/toolbox/index.ts';

/**
 * A failed write leaves the rest of its part unread, and with it the whole request: it is read to be able to answer. The write
 * gets a stream of its own, because who destroys a part ends the parser of the form.
 */
export async function writeOrDrain(files: Pick<SandboxFiles, 'write'>, path: string, content: Readable): Promise<void> {
  try {
    await files.write(path, Readable.from(chunksOf(content), { objectMode: false }));
  } catch (error) {
    content.on('error', () => {});
    // A listener, too: the iterator lets go of the part later, which stops one that is only told to flow.
    content.on('data', () => {});
    content.resume();
    throw error;
  }
}

/** A loop between them: an error that is thrown into the iterator itself (`yield*` too) makes it destroy its stream, whatever its options say. */
async function* chunksOf(content: Readable): AsyncGenerator<Buffer> {
  for await (const chunk of content.iterator({ destroyOnReturn: false })) yield chunk;
}
