import { open } from 'node:fs/promises';

/** What was made, renamed or removed in the directory is on disk when this resolves. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
