import { randomBytes } from 'node:crypto';
import { closeSync, unlink } from 'node:fs';
import { promisify } from 'node:util';
import { conflict, errnoOf, invalidRequest } from '../../platform/errors.ts';
import { moveAt, type NameAt } from '../../platform/libc-files.ts';
import { namesIn, openDirectoryAt, pathInDirectory } from './directory-names.ts';
import { lookUp, makeIn, withPlace } from './directory-place.ts';
import { copyEntry } from './file-copy.ts';
import { checkRemovable, removeTreeAt } from './file-remove.ts';
import { refuseKernelFile } from './regular-file.ts';

const unlinkAsync = promisify<Buffer, void>(unlink);

export interface MoveInput {
  root: number;
  from: string;
  to: string;
  replace: boolean;
  signal: AbortSignal;
}

export function moveInRoot({ root, from, to, replace, signal }: MoveInput): Promise<void> {
  return withPlace(root, from, (fromDirectory, fromName) =>
    withPlace(root, to, async (toDirectory, toName) => {
      await refuseKernelFile(toDirectory, to);
      const isDirectory = await checkRemovable(fromDirectory, fromName, from);
      await checkRemovable(toDirectory, toName, to);
      const source = { directory: fromDirectory, name: fromName };
      const target = { directory: toDirectory, name: toName };
      try {
        makeIn(toDirectory, () => moveAt(source, target, { replace }));
      } catch (error) {
        // Another file system; or a directory of the image, which an overlay file system does not rename.
        if (errnoOf(error) !== 'EXDEV') throw error;
        await refuseUnfit(target, to, { isDirectory, replace });
        await moveByCopy(source, target, { replace, signal });
      }
    }),
  );
}

/** What rename(2) would say of the target, before the work of a copy. */
async function refuseUnfit(
  { directory, name }: { directory: number; name: Buffer },
  path: string,
  { isDirectory, replace }: { isDirectory: boolean; replace: boolean },
): Promise<void> {
  const existing = lookUp(directory, name);
  if (existing === undefined) return;
  try {
    if (!replace) throw conflict(`${path} exists already`);
    const targetIsDirectory = existing.stats.isDirectory();
    if (targetIsDirectory !== isDirectory) {
      throw invalidRequest(`${path} is ${targetIsDirectory ? 'a directory' : 'not a directory'}`);
    }
    if (!targetIsDirectory) return;
    for await (const _ of namesIn(existing.fd)) throw conflict(`${path} is not empty`);
  } finally {
    closeSync(existing.fd);
  }
}

type Place = NameAt & { name: Buffer };

/** The copy appears under the new name as a whole; the old one goes after that. What fails leaves the old one. */
async function moveByCopy(source: Place, target: Place, options: { replace: boolean; signal: AbortSignal }) {
  const beside = { directory: target.directory, name: Buffer.from(`.darkroom-${randomBytes(8).toString('hex')}`) };
  try {
    await copyEntry(source, beside, options.signal);
    makeIn(target.directory, () => moveAt(beside, target, { replace: options.replace }));
  } catch (error) {
    await removeAny(beside).catch(() => {});
    throw error;
  }
  await removeAny(source);
}

/** To its end, also when nobody waits any more: half of it would be neither here nor there. */
async function removeAny({ directory, name }: Place): Promise<void> {
  const opened = openDirectoryAt(directory, name);
  if (opened === undefined) return unlinkAsync(pathInDirectory(directory, name));
  closeSync(opened);
  await removeTreeAt(directory, name, new AbortController().signal);
}
