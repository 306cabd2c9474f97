import type { FileInfoDto } from '@darkroom/contract';
import type { ToolboxFile } from '../../../sandboxes/toolbox/index.ts';

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
/** As Go writes the types of files, which is what clients were made for. */
const TYPES = new Map([
  [S_IFDIR, 'd'],
  [0o120000, 'L'],
  [0o010000, 'p'],
  [0o140000, 'S'],
  [0o060000, 'D'],
  [0o020000, 'Dc'],
]);
const SPECIAL = [
  [0o4000, 'u'],
  [0o2000, 'g'],
  [0o1000, 't'],
] as const;

export function toFileInfo({ path, stat, owner, group }: ToolboxFile): FileInfoDto {
  const modified = new Date(stat.mtimeMs).toISOString();
  // Bytes that are no UTF-8 have no way through every client's JSON.
  const shown = path.toWellFormed();
  return {
    name: shown.replace(/\/+$/, '').split('/').at(-1) || '/',
    path: shown,
    size: stat.size,
    mode: modeString(stat.mode),
    modTime: modified,
    modifiedAt: modified,
    isDir: (stat.mode & S_IFMT) === S_IFDIR,
    owner,
    group,
    permissions: (stat.mode & 0o777).toString(8).padStart(4, '0'),
  };
}

export function modeString(mode: number): string {
  const type = TYPES.get(mode & S_IFMT) ?? '';
  const special = SPECIAL.map(([bit, letter]) => (mode & bit ? letter : ''));
  // Go has the letter of a device's kind behind those.
  const kind = [type.slice(0, 1), ...special.slice(0, 2), type.slice(1), special[2]].join('');
  const bits = [...'rwxrwxrwx'].map((letter, index) => ((mode >> (8 - index)) & 1 ? letter : '-'));
  return (kind || '-') + bits.join('');
}
