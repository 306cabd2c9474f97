import { lstat } from 'node:fs/promises';
import { errnoOf } from '../platform/errors.ts';
import type { Scene } from './types.ts';

/** Whether it has been there for longer than what is under way may take, or nothing is under way. False when it is gone. */
export async function isLeft({ offline, graceMs }: Pick<Scene, 'offline' | 'graceMs'>, path: string): Promise<boolean> {
  try {
    const { ctimeMs } = await lstat(path);
    return offline || ctimeMs < Date.now() - graceMs;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
