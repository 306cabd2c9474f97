import { EntryRefused } from './unpack-error.ts';

/**
 * Names are handled as latin1 strings: one character for each byte, so any bytes survive, and strings can be keys.
 * A path is relative to the layer, without `.`, `..`, empty or trailing parts; the layer itself is the empty string.
 */
export type EntryPath = string;

const NAME_MAX = 255;

/**
 * A leading `/` or `./` is dropped, as Docker does: such a name still means a place in the layer. `..` is refused even
 * where it would stay inside, because no tool that packs a layer writes it.
 */
export function entryPath(name: Buffer, what: 'name' | 'link target'): EntryPath {
  const text = name.toString('latin1');
  if (text.includes('\0')) throw new EntryRefused(`its ${what} has a zero byte`);
  const parts = text.split('/').filter((part) => part !== '' && part !== '.');
  for (const part of parts) {
    if (part === '..') throw new EntryRefused(`its ${what} has ".." in it`);
    if (part.length > NAME_MAX) throw new EntryRefused(`a part of its ${what} is longer than ${NAME_MAX} bytes`);
  }
  return parts.join('/');
}

export function parentOf(path: EntryPath): EntryPath {
  const slash = path.lastIndexOf('/');
  return slash === -1 ? '' : path.slice(0, slash);
}

export function baseOf(path: EntryPath): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

export function joinPath(parent: EntryPath, base: string): EntryPath {
  return parent === '' ? base : `${parent}/${base}`;
}
