import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from './sync-directory.ts';

/**
 * Puts a file there, or in the place of an earlier one. Killed before it resolves, there is the earlier one or this one, whole;
 * afterwards this one, also after a power cut. Nobody without `mode` can read it at any moment. One writer at a time.
 */
export async function replaceFile(path: string, content: string | Buffer, mode: number): Promise<void> {
  const draft = `${path}.new`;
  await rm(draft, { force: true });
  try {
    const file = await open(draft, 'wx', mode);
    try {
      await file.writeFile(content);
      // Whatever the umask took.
      await file.chmod(mode);
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
