import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { z } from 'zod';
import { errnoOf } from '../../platform/errors.ts';
import { getXattr, setXattr } from '../../platform/libc.ts';

/**
 * What a stored context was when it came, kept with the file: sizes and MD5s of its parts, one after the other. The client's hash, which it is named by, is
 * of something else than these bytes.
 */
export type ContextDigest = readonly { size: number; md5: string }[];

const ATTRIBUTE = 'user.darkroom.digest';
const schema = z.array(z.object({ size: z.int().nonnegative(), md5: z.string().regex(/^[0-9a-f]{32}$/) })).min(1);
/** More parts than these do not fit into an attribute. */
const MAX_BYTES = 32 * 1024;
const CHUNK = 1024 * 1024;

export function writeContextDigest(path: string, digest: ContextDigest): void {
  const value = Buffer.from(JSON.stringify(digest));
  if (value.length > MAX_BYTES) return;
  try {
    setXattr(path, ATTRIBUTE, value);
  } catch (error) {
    // A file system without them: there is nothing to compare with then.
    if (!['ENOTSUP', 'EOPNOTSUPP', 'ENOSPC', 'E2BIG', 'ERANGE'].includes(errnoOf(error) ?? '')) throw error;
  }
}

/** What is wrong with a stored context, for a person; with `bytes` it is read whole. Undefined when nothing is, or nothing is known. */
export async function contextFault(path: string, { bytes, signal }: { bytes: boolean; signal: AbortSignal }) {
  const digest = readDigest(path);
  if (digest === undefined) return undefined;
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const wanted = digest.reduce((sum, part) => sum + part.size, 0);
    if (size !== wanted) return `it has ${size} bytes, and had ${wanted} when it came`;
    if (!bytes) return undefined;
    const chunk = Buffer.allocUnsafe(CHUNK);
    let position = 0;
    for (const part of digest) {
      const hash = createHash('md5');
      for (const end = position + part.size; position < end; ) {
        signal.throwIfAborted();
        const { bytesRead } = await file.read(chunk, 0, Math.min(CHUNK, end - position), position);
        if (bytesRead === 0) return 'it ends too early';
        hash.update(chunk.subarray(0, bytesRead));
        position += bytesRead;
      }
      if (hash.digest('hex') !== part.md5) return 'its bytes are not those that came';
    }
    return undefined;
  } catch (error) {
    if (['EIO', 'EUCLEAN', 'EBADMSG'].includes(errnoOf(error) ?? '')) return `it cannot be read: ${errnoOf(error)}`;
    throw error;
  } finally {
    await file.close();
  }
}

function readDigest(path: string): ContextDigest | undefined {
  try {
    const value = getXattr(Buffer.from(path), ATTRIBUTE);
    return value === undefined ? undefined : schema.safeParse(JSON.parse(value.toString('utf8'))).data;
  } catch (error) {
    if (error instanceof SyntaxError || errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTSUP') return undefined;
    throw error;
  }
}
