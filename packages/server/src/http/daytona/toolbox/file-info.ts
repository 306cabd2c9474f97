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

export function toFileInfo({ path, stat, owner, group }: ToolboxFile): FileInfoDto {
  const modified = new Date(stat.mtimeMs).toISOString();
  return {
    name: path.replace(/\/+$/, '').split('/').at(-1) || '/',
    path,
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

function modeString(mode: number): string {
  const bits = [...'rwxrwxrwx'].map((letter, index) => ((mode >> (8 - index)) & 1 ? letter : '-')).join('');
  return (TYPES.get(mode & S_IFMT) ?? '-') + bits;
}
