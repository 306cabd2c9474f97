import { checksumMatches, cString, numberField } from './fields.ts';
import { TarFormatError, type Timestamp } from './types.ts';

/** One 512 byte header, before anything that stands around it changes its meaning. */
export interface Header {
  /** The type flag as a character; NUL of the oldest archives is `0`. */
  flag: string;
  name: Buffer;
  linkName: Buffer;
  mode: number;
  uid: number;
  gid: number;
  /** Bytes that follow in the archive. */
  size: number;
  mtime: Timestamp;
  deviceMajor: number;
  deviceMinor: number;
}

const POSIX_MAGIC = Buffer.from('ustar\0');
const STAR_TRAILER = Buffer.from('tar\0');

export function parseHeader(block: Buffer): Header {
  if (!checksumMatches(block)) throw new TarFormatError('a header has a wrong checksum');
  const posix = block.subarray(257, 263).equals(POSIX_MAGIC);
  const size = numberField(block, 124, 12, 'size');
  if (size < 0) throw new TarFormatError('a header has a negative size');
  const flag = block[156] ?? 0;
  // Writers leave anything in these fields where the member is no device.
  const isDevice = flag === 0x33 || flag === 0x34;
  return {
    flag: flag === 0 ? '0' : String.fromCharCode(flag),
    name: posix ? prefixed(block) : Buffer.from(cString(block, 0, 100)),
    linkName: Buffer.from(cString(block, 157, 100)),
    mode: numberField(block, 100, 8, 'mode'),
    uid: numberField(block, 108, 8, 'uid'),
    gid: numberField(block, 116, 8, 'gid'),
    size,
    mtime: { seconds: numberField(block, 136, 12, 'mtime'), nanoseconds: 0 },
    deviceMajor: isDevice ? numberField(block, 329, 8, 'device major') : 0,
    deviceMinor: isDevice ? numberField(block, 337, 8, 'device minor') : 0,
  };
}

/** GNU headers keep other things where POSIX has the prefix; star ends it 24 bytes earlier. */
function prefixed(block: Buffer): Buffer {
  const name = cString(block, 0, 100);
  const prefix = cString(block, 345, block.subarray(508, 512).equals(STAR_TRAILER) ? 131 : 155);
  return prefix.length === 0 ? Buffer.from(name) : Buffer.concat([prefix, Buffer.from('/'), name]);
}
