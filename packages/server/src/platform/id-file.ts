import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DarkroomError, errnoOf } from './errors.ts';
import { syncDirectory } from './sync-directory.ts';

export interface IdFile {
  path: string;
  /** `a runner id`. */
  what: string;
  /** Where it does not hold one. */
  hint: string;
}

/** The id that a file holds; undefined where there is no such file. */
export async function readIdFile({ path, what, hint }: IdFile): Promise<string | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const id = text.trim();
  if (/^[\w.-]{1,64}$/.test(id)) return id;
  throw new DarkroomError('internal', `${path} does not hold ${what}`, { hint });
}

/** On disk when this resolves; killed before, the file is there whole or not at all. */
export async function writeIdFile({ path }: Pick<IdFile, 'path'>, id: string): Promise<void> {
  const draft = `${path}.new`;
  try {
    const file = await open(draft, 'w', 0o644);
    try {
      await file.writeFile(`${id}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** The same where a full disk must not keep a server from starting, and deleting: then it is written by a later start. */
export async function writeIdFileIfRoom(file: Pick<IdFile, 'path'>, id: string): Promise<boolean> {
  try {
    await writeIdFile(file, id);
    return true;
  } catch (error) {
    if (['ENOSPC', 'EDQUOT'].includes(errnoOf(error) ?? '')) return false;
    throw error;
  }
}
