import { closeSync, constants } from 'node:fs';
import type { FileEntry } from '../types.ts';
import { locate } from './container-root.ts';
import { entriesIn } from './directory-names.ts';
import { fileStat } from './file-stat.ts';
import { nameOfBytes } from './name-bytes.ts';

export async function* listDirectory(root: number, path: string, idBase: number): AsyncGenerator<FileEntry> {
  const directory = locate(root, path, constants.O_DIRECTORY);
  try {
    for await (const batch of entriesIn(directory)) {
      for (const { name, stats } of batch) yield { name: nameOfBytes(name), stat: fileStat(stats, idBase) };
    }
  } finally {
    closeSync(directory);
  }
}
