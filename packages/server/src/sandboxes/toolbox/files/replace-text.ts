import { Readable } from 'node:stream';
import { DarkroomError } from '../../../platform/errors.ts';
import type { ContainerFiles, FileOwner, OpenFile } from '../../../runtime/types.ts';
import { findBytes } from './find-bytes.ts';
import { replaced } from './replaced.ts';

export interface Replacement {
  pattern: string;
  replacement: string;
}

export interface ReplaceOutcome {
  file: string;
  error: string | undefined;
}

const CHUNK = 256 * 1024;

/** Changes a file that has the text, as a whole and keeping its owner and permissions; another is not written at all. */
export async function replaceText(
  files: ContainerFiles,
  path: string,
  { pattern, replacement }: Replacement,
  { owner, signal }: { owner: FileOwner; signal: AbortSignal },
): Promise<void> {
  const text = Buffer.from(pattern);
  const file = await files.open(path, { read: true });
  try {
    if (!(await has(file, text, signal))) return;
    const content = replaced(chunksOf(file, signal), text, Buffer.from(replacement));
    await files.write(path, Readable.from(content, { objectMode: false }), owner);
  } finally {
    await file.close();
  }
}

async function has(file: OpenFile, text: Buffer, signal: AbortSignal): Promise<boolean> {
  const find = findBytes(text);
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunksOf(file, signal)) {
    const bytes = Buffer.concat([rest, chunk]);
    if (find(bytes) !== -1) return true;
    rest = bytes.subarray(Math.max(0, bytes.length - text.length + 1));
  }
  return false;
}

async function* chunksOf(file: OpenFile, signal: AbortSignal): AsyncGenerator<Buffer> {
  for (let position = 0; ; ) {
    signal.throwIfAborted();
    const chunk = await file.read(position, CHUNK);
    if (chunk.length === 0) return;
    position += chunk.length;
    yield chunk;
  }
}

/** What is the client's to repair is told for each file; anything else ends the call. */
export function outcomeOf(file: string, error: unknown): ReplaceOutcome {
  if (error instanceof DarkroomError && error.isUserError && error.code !== 'timeout') {
    return { file, error: error.message };
  }
  throw error;
}
