import { readFile } from 'node:fs/promises';
import { DarkroomError, errnoOf, undefinedIfMissing } from './errors.ts';
import { replaceFile } from './replace-file.ts';

export interface IdFile {
  path: string;
  /** `a runner id`. */
  what: string;
  /** Where it does not hold one. */
  hint: string;
}

/** The id that a file holds; undefined where there is no such file. */
export async function readIdFile({ path, what, hint }: IdFile): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch(undefinedIfMissing);
  if (text === undefined) return undefined;
  const id = text.trim();
  if (/^[\w.-]{1,64}$/.test(id)) return id;
  throw new DarkroomError('internal', `${path} does not hold ${what}`, { hint });
}

/** On disk when this resolves; killed before, the file is there whole or not at all. */
export const writeIdFile = ({ path }: Pick<IdFile, 'path'>, id: string): Promise<void> =>
  replaceFile(path, `${id}\n`, 0o644);

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
