import { createHash } from 'node:crypto';
import {
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from 'node:fs';
import { crc32 } from 'node:zlib';
import { getXattr, listXattrs } from '../../platform/libc.ts';
import { forgetCached } from '../../platform/libc-copy.ts';

/** All that a layer's files are, but for times that reading changes. In a form that is written down as it stands. */
export type TreeEntry = [
  /** Below the layer's root, which is empty; latin1 of the bytes. */
  path: string,
  type: 'd' | 'f' | 'l' | 'p' | 's' | 'c' | 'b' | 'h',
  mode: number,
  uid: number,
  gid: number,
  /** Of files and links. */
  size: number,
  mtimeNs: string,
  /** The target of a link; the number of a device; the first path of a file that has several. */
  detail: string,
  /** A digest of the attributes; empty for none. */
  xattrs: string,
  /** CRC-32 of the bytes; null where it was not looked at. */
  crc: number | null,
];

export interface WalkOptions {
  /** What the CRC of a file is taken from; undefined: no file is opened. */
  crcOf: ((path: string, location: Buffer) => number | null) | undefined;
  /** Called for every entry; raises to end the walk. */
  check: () => void;
}

/** Every entry below a directory that nobody changes meanwhile, each directory before what is in it, names in the order of their bytes. */
export function* walkTree(root: string, options: WalkOptions): Generator<TreeEntry> {
  const firsts = new Map<bigint, string>();
  // Not by recursion: a tree may be as deep as paths are long.
  const left: string[] = [''];
  for (let path = left.pop(); path !== undefined; path = left.pop()) {
    options.check();
    const location = locationOf(root, path);
    const stats = lstatSync(location, { bigint: true });
    const entry = entryOf(path, location, stats, firsts);
    if (entry[1] === 'f' && options.crcOf !== undefined) entry[9] = options.crcOf(path, location);
    yield entry;
    if (!stats.isDirectory()) continue;
    const names = readdirSync(location, { encoding: 'buffer' }).sort(Buffer.compare).reverse();
    for (const name of names) left.push(path === '' ? name.toString('latin1') : `${path}/${name.toString('latin1')}`);
  }
}

export function locationOf(root: string, path: string): Buffer {
  return Buffer.concat([Buffer.from(root), Buffer.from(path === '' ? '' : `/${path}`, 'latin1')]);
}

function entryOf(path: string, location: Buffer, stats: BigIntStats, firsts: Map<bigint, string>): TreeEntry {
  const type = typeOf(stats);
  const isFile = type === 'f';
  const first = isFile && stats.nlink > 1n ? firsts.get(stats.ino) : undefined;
  if (isFile && stats.nlink > 1n && first === undefined) firsts.set(stats.ino, path);
  const isLink = type === 'l';
  const detail = isLink
    ? readlinkSync(location, { encoding: 'buffer' }).toString('latin1')
    : type === 'c' || type === 'b'
      ? String(stats.rdev)
      : (first ?? '');
  return [
    path,
    first === undefined ? type : 'h',
    Number(stats.mode) & 0o7777,
    Number(stats.uid),
    Number(stats.gid),
    isFile || isLink ? Number(stats.size) : 0,
    String(stats.mtimeNs),
    detail,
    isLink ? '' : xattrsOf(location),
    null,
  ];
}

function typeOf(stats: BigIntStats): TreeEntry[1] {
  if (stats.isFile()) return 'f';
  if (stats.isDirectory()) return 'd';
  if (stats.isSymbolicLink()) return 'l';
  if (stats.isFIFO()) return 'p';
  if (stats.isSocket()) return 's';
  return stats.isCharacterDevice() ? 'c' : 'b';
}

function xattrsOf(location: Buffer): string {
  const names = listXattrs(location);
  if (names.length === 0) return '';
  const hash = createHash('sha256');
  for (const name of names.sort())
    hash
      .update(`${name}\0`)
      .update(getXattr(location, name) ?? '')
      .update('\0');
  return hash.digest('base64').slice(0, 22);
}

const chunk = Buffer.allocUnsafe(1024 * 1024);

/** `uncached`: of what the disk has. The page cache of a file that nobody changes may hide that its disk has lost it. */
export function crcOfFile(location: Buffer, check: () => void, { uncached = false } = {}): number {
  const fd = openSync(location, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    if (uncached) forgetCached(fd);
    let crc = 0;
    for (;;) {
      const count = readSync(fd, chunk, 0, chunk.length, null);
      if (count === 0) return crc;
      crc = crc32(chunk.subarray(0, count), crc);
      check();
    }
  } finally {
    closeSync(fd);
  }
}
