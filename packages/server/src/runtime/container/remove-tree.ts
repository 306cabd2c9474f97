import { rm } from 'node:fs/promises';
import { errnoOf } from '../../platform/errors.ts';
import { run } from '../../platform/process.ts';

/** Millions of files on a slow disk. */
const TOOL_TIMEOUT_MS = 30 * 60_000;

/**
 * Removes a directory that a sandbox has filled. Inside, with relative names, trees grow deeper than a path may be long; Node
 * goes by paths and fails there, the tool goes from directory to directory.
 */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    if (errnoOf(error) !== 'ENAMETOOLONG') throw error;
    await run('rm', ['-rf', '--', path], { timeoutMs: TOOL_TIMEOUT_MS });
  }
}
