import { errnoOf } from '../../platform/errors.ts';
import { readTreeRecord, TreeRecordDamaged } from './tree-record.ts';
import { crcOfFile, type TreeEntry, walkTree } from './walk-tree.ts';

export type LayerVerdict =
  | { kind: 'sound'; entries: number }
  /** There is nothing that the files could be compared with. */
  | { kind: 'unrecorded' }
  /** Some of what differs, for a person: `/usr/bin/x: its bytes`. */
  | { kind: 'damaged'; differences: string[] };

const MAX_DIFFERENCES = 20;
const FIELDS = [
  'its name',
  'its type',
  'its mode',
  'its owner',
  'its group',
  'its size',
  'its time',
  'its target',
  'its attributes',
];

/** Compares a layer's files with its record, in this thread; with `contents` their bytes too. */
export function compareTree(
  root: string,
  record: string,
  { contents, check }: { contents: boolean; check: () => void },
): LayerVerdict {
  const differences: string[] = [];
  const note = (path: string, what: string) => {
    if (differences.length < MAX_DIFFERENCES) differences.push(`${shown(path)}: ${what}`);
  };
  let entries = 0;
  try {
    const found = walkTree(root, { crcOf: undefined, check });
    let actual = found.next();
    for (const wanted of readTreeRecord(record)) {
      entries += 1;
      // What is more than was recorded stands before it in the order of the walk.
      while (actual.done !== true && actual.value[0] !== wanted[0] && isBefore(actual.value[0], wanted[0])) {
        note(actual.value[0], 'it is new');
        actual = found.next();
      }
      if (actual.done === true || actual.value[0] !== wanted[0]) {
        note(wanted[0], 'it is missing');
        continue;
      }
      for (const index of differing(actual.value, wanted)) note(wanted[0], FIELDS[index] ?? '');
      if (contents) compareBytes(root, wanted, actual.value, check, note);
      actual = found.next();
    }
    for (; actual.done !== true; actual = found.next()) note(actual.value[0], 'it is new');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' && entries === 0 && differences.length === 0) return { kind: 'unrecorded' };
    if (error instanceof TreeRecordDamaged) note('', `the record of its files is damaged: ${error.message}`);
    // A disk that cannot be read, or structures of its file system that make no sense.
    else if (isOfDisk(error)) note('', `it cannot be read: ${errnoOf(error)}`);
    else throw error;
  }
  return differences.length === 0 ? { kind: 'sound', entries } : { kind: 'damaged', differences };
}

function compareBytes(
  root: string,
  wanted: TreeEntry,
  actual: TreeEntry,
  check: () => void,
  note: (path: string, what: string) => void,
): void {
  if (wanted[1] !== 'f' || actual[1] !== 'f' || wanted[9] === null || wanted[5] !== actual[5]) return;
  const location = Buffer.concat([Buffer.from(`${root}/`), Buffer.from(wanted[0], 'latin1')]);
  if (crcOfFile(location, check, { uncached: true }) !== wanted[9]) note(wanted[0], 'its bytes');
}

function differing(actual: TreeEntry, wanted: TreeEntry): number[] {
  return FIELDS.flatMap((_, index) => (actual[index] === wanted[index] ? [] : [index]));
}

/** In the order of the walk: a directory, then what is in it, names by their bytes. */
function isBefore(a: string, b: string): boolean {
  const [left, right] = [a.split('/'), b.split('/')];
  for (let index = 0; index < Math.min(left.length, right.length); index++) {
    const [x = '', y = ''] = [left[index], right[index]];
    if (x !== y) return x < y;
  }
  return left.length < right.length;
}

function isOfDisk(error: unknown): boolean {
  return ['EIO', 'EUCLEAN', 'EBADMSG', 'ENODATA', 'ENOENT', 'ENOTDIR', 'ELOOP', 'ESTALE'].includes(
    errnoOf(error) ?? '',
  );
}

function shown(path: string): string {
  return `/${Buffer.from(path, 'latin1').toString()}`.slice(0, 300);
}
