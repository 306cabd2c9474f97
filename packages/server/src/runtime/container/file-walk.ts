import { constants, type Stats } from 'node:fs';
import { invalidRequest } from '../../platform/errors.ts';
import type { OpenFile, WalkEntry } from '../types.ts';
import { locate } from './container-root.ts';
import { closeAll, entriesIn, openDirectoryAt } from './directory-names.ts';
import { onOneMount } from './directory-place.ts';
import { fileStat } from './file-stat.ts';
import { nameOfBytes } from './name-bytes.ts';
import { isKernelFile } from './regular-file.ts';

export interface WalkInput {
  root: number;
  path: string;
  maxDepth: number;
  signal: AbortSignal;
  idBase: number;
  open(directory: number, name: Buffer, path: string): Promise<OpenFile>;
}

/** Each level on the way holds a descriptor. Deeper than this is nobody's work but a trap. */
const MAX_DEPTH = 512;
/** What lies deeper could not be asked for. */
const MAX_PATH = 4096;

interface Level {
  fd: number;
  path: string;
  names: AsyncGenerator<{ name: Buffer; stats: Stats }[]>;
  batch: { name: Buffer; stats: Stats }[];
}

/**
 * Depth first from descriptor to descriptor: what is moved away during the walk is still what was found, and nothing above the
 * first directory can be reached.
 */
export async function* walkDirectory(input: WalkInput): AsyncGenerator<WalkEntry> {
  const first = locate(input.root, input.path, constants.O_DIRECTORY);
  const levels: Level[] = [levelOf(first, input.path === '/' ? '' : input.path.replace(/\/+$/, ''))];
  try {
    if (await isKernelFile(first)) throw invalidRequest(`${input.path} is not a directory on disk`);
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      input.signal.throwIfAborted();
      const entry = await nextOf(level);
      if (entry === undefined) {
        levels.pop();
        await leave(level);
        continue;
      }
      const { fd } = level;
      const { name, stats } = entry;
      const path = `${level.path}/${nameOfBytes(name)}`;
      const depth = levels.length;
      yield {
        path,
        depth,
        stat: fileStat(stats, input.idBase),
        open: () => input.open(fd, name, path),
      };
      if (!stats.isDirectory() || depth >= Math.min(input.maxDepth, MAX_DEPTH) || path.length > MAX_PATH) continue;
      const below = openDirectoryAt(fd, name);
      if (below === undefined) continue;
      // Other file systems are not entered: /proc leads in circles.
      if (onOneMount(below, first)) levels.push(levelOf(below, path));
      else closeAll([below]);
    }
  } finally {
    for (const level of levels.reverse()) await leave(level);
  }
}

const levelOf = (fd: number, path: string): Level => ({ fd, path, names: entriesIn(fd), batch: [] });

async function nextOf(level: Level): Promise<Level['batch'][number] | undefined> {
  if (level.batch.length === 0) {
    const { value, done } = await level.names.next();
    if (done === true) return undefined;
    level.batch = value.reverse();
    if (level.batch.length === 0) return nextOf(level);
  }
  return level.batch.pop();
}

async function leave({ fd, names }: Level): Promise<void> {
  await names.return(undefined);
  closeAll([fd]);
}
