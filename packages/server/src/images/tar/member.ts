import { decimal } from './fields.ts';
import type { Header } from './header.ts';
import { foldPax, type PaxFields, type PaxRecords } from './pax.ts';
import { oldGnuRealSize, oldGnuSegments, parseCommaMap, type Segment } from './sparse.ts';
import { type TarEntry, type TarEntryType, TarFormatError } from './types.ts';

/** How the data of a file stands in the archive. */
export type Layout =
  | { kind: 'plain' }
  | { kind: 'segments'; segments: Segment[] }
  /** The map goes on in blocks behind the header. */
  | { kind: 'extensions'; segments: Segment[] }
  /** The map stands before the data. */
  | { kind: 'line-map' };

export interface Member {
  entry: TarEntry;
  /** Bytes that follow in the archive, without padding. */
  storedSize: number;
  layout: Layout;
}

const TYPES: Readonly<Record<string, TarEntryType>> = {
  0: 'file',
  1: 'hardlink',
  2: 'symlink',
  3: 'character-device',
  4: 'block-device',
  5: 'directory',
  6: 'fifo',
  7: 'file',
  // GNU: a directory followed by the list of its names, and a sparse file.
  D: 'directory',
  S: 'file',
};

/** One member out of its header and all that was said about it before. */
export function resolveMember(
  header: Header,
  block: Buffer,
  global: PaxRecords,
  local: PaxRecords,
  longName: Buffer | undefined,
  longLink: Buffer | undefined,
): Member {
  const pax = foldPax(global, local);
  const sparseName = pax.sparse.get('name');
  const name = sparseName === undefined ? (pax.path ?? header.name) : Buffer.from(sparseName, 'latin1');
  const type = typeOf(header.flag, longName ?? name);
  const hasData = header.flag === '0' || header.flag === '7' || header.flag === 'S' || header.flag === 'D';
  // As with Go's reader, which made most images: links, nodes and directories have no data whatever their size says.
  const storedSize = hasData ? (pax.size ?? header.size) : 0;
  const { layout, realSize } = type === 'file' ? layoutOf(header, block, pax) : PLAIN;
  const entry: TarEntry = {
    type,
    name: longName ?? name,
    linkName: longLink ?? pax.linkPath ?? header.linkName,
    mode: header.mode & 0o7777,
    uid: pax.uid ?? header.uid,
    gid: pax.gid ?? header.gid,
    size: type === 'file' ? (realSize ?? storedSize) : 0,
    mtime: pax.mtime ?? header.mtime,
    xattrs: pax.xattrs,
    sparse: layout.kind !== 'plain',
    deviceMajor: header.deviceMajor,
    deviceMinor: header.deviceMinor,
  };
  return { entry, storedSize, layout };
}

function typeOf(flag: string, name: Buffer): TarEntryType {
  const type = TYPES[flag];
  if (type === undefined) throw new TarFormatError(`member type ${JSON.stringify(flag)} is not known`);
  // Archives from before there was a type for directories.
  return flag === '0' && name.at(-1) === 0x2f ? 'directory' : type;
}

interface FoundLayout {
  layout: Layout;
  realSize: number | undefined;
}

const PLAIN: FoundLayout = { layout: { kind: 'plain' }, realSize: undefined };

function layoutOf(header: Header, block: Buffer, pax: PaxFields): FoundLayout {
  if (header.flag === 'S') {
    const { segments, more } = oldGnuSegments(block, 'header');
    return { layout: { kind: more ? 'extensions' : 'segments', segments }, realSize: oldGnuRealSize(block) };
  }
  if (pax.sparse.size === 0) return PLAIN;
  const version = `${pax.sparse.get('major') ?? '0'}.${pax.sparse.get('minor') ?? '0'}`;
  const sizeText = pax.sparse.get('realsize') ?? pax.sparse.get('size');
  if (sizeText === undefined) return PLAIN;
  const realSize = decimal(sizeText, 'GNU.sparse.size');
  if (version === '1.0') return { layout: { kind: 'line-map' }, realSize };
  if (version !== '0.0' && version !== '0.1') throw new TarFormatError(`sparse format ${version} is not known`);
  return { layout: { kind: 'segments', segments: parseCommaMap(pax.sparse.get('map') ?? '') }, realSize };
}
