import { lstatSync, opendirSync } from 'node:fs';
import { run } from '../../platform/process.ts';

/** What so few files take is found out faster than a process is started. */
const FEW = 256;
/** Paths that are longer may be longer than the kernel takes. */
const MAX_PATH = 3000;
const MEASURE_MS = 10 * 60_000;

/** Bytes on disk of what is in a directory, whatever a hostile step put there; several names of one file count once. */
export async function measureTree(directory: string): Promise<number> {
  const few = measureFew(directory);
  if (few !== undefined) return few;
  const { stdout } = await run('du', ['-s', '-x', '--block-size=1', '--', directory], { timeoutMs: MEASURE_MS });
  return Number.parseInt(stdout, 10);
}

export function isEmptyDirectory(directory: string): boolean {
  return namesIn(Buffer.from(directory), 1).length === 0;
}

/** Undefined when there are too many files to look at all in one go. */
function measureFew(directory: string): number | undefined {
  const left: Buffer[] = [Buffer.from(directory)];
  const seen = new Set<bigint>();
  let entries = 0;
  let bytes = 0n;
  for (let path = left.pop(); path !== undefined; path = left.pop()) {
    const names = namesIn(path, FEW + 1);
    entries += names.length;
    if (entries > FEW) return undefined;
    for (const name of names) {
      const place = Buffer.concat([path, Buffer.from('/'), name]);
      if (place.length > MAX_PATH) return undefined;
      const stats = lstatSync(place, { bigint: true });
      if (stats.isDirectory()) left.push(place);
      else if (stats.nlink > 1n && seen.has(stats.ino)) continue;
      seen.add(stats.ino);
      bytes += stats.blocks * 512n;
    }
  }
  return Number(bytes);
}

/** At most so many: there may be millions. */
function namesIn(directory: Buffer, count: number): Buffer[] {
  // Any bytes are a string of this encoding, and come out of it as they were.
  const dir = opendirSync(directory, { encoding: 'latin1' });
  const names: Buffer[] = [];
  try {
    while (names.length < count) {
      const entry = dir.readSync();
      if (entry === null) break;
      names.push(Buffer.from(entry.name, 'latin1'));
    }
    return names;
  } finally {
    dir.closeSync();
  }
}
