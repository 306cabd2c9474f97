import { decimal } from './fields.ts';
import { TarFormatError, type Timestamp } from './types.ts';

/** Records in their order; GNU's sparse format 0.0 repeats keys. Keys are latin1 strings of their bytes. */
export type PaxRecords = Array<readonly [key: string, value: Buffer]>;

/** The body of an `x` or `g` member: records of `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record. */
export function parsePax(body: Buffer): PaxRecords {
  const records: PaxRecords = [];
  let at = 0;
  while (at < body.length) {
    // Some writers pad the body with zeros.
    if (body[at] === 0 && body.subarray(at).every((byte) => byte === 0)) break;
    const blank = body.indexOf(0x20, at);
    if (blank === -1 || blank - at > 10) throw new TarFormatError('a PAX record has no length');
    const end = at + decimal(body.toString('latin1', at, blank), 'the length of a PAX record');
    const equals = body.indexOf(0x3d, blank);
    if (end > body.length || equals === -1 || equals >= end || body[end - 1] !== 0x0a || equals === blank + 1) {
      throw new TarFormatError('a PAX record is malformed');
    }
    records.push([body.toString('latin1', blank + 1, equals), Buffer.from(body.subarray(equals + 1, end - 1))]);
    at = end;
  }
  return records;
}

/** What the records of one member, over the global ones, say about it. Absent fields leave the header's word. */
export interface PaxFields {
  path?: Buffer;
  linkPath?: Buffer;
  size?: number;
  uid?: number;
  gid?: number;
  mtime?: Timestamp;
  xattrs: Map<string, Buffer>;
  /** `GNU.sparse.*` without that prefix; the map of format 0.0 is already in the form of 0.1. */
  sparse: Map<string, string>;
}

/**
 * What a global header may say for all members that follow. Names, sizes and sparse maps of all members at once make no
 * sense, so they are passed over. The bound keeps the cost of each member small.
 */
export function mergeGlobal(global: PaxRecords, added: PaxRecords): PaxRecords {
  const merged = new Map(global);
  for (const [key, value] of added) {
    if (key === 'mtime' || key === 'uid' || key === 'gid' || key.startsWith(XATTR)) merged.set(key, value);
  }
  if (merged.size > 64) throw new TarFormatError('global PAX headers have too many records');
  return [...merged];
}

const XATTR = 'SCHILY.xattr.';
const SPARSE = 'GNU.sparse.';

export function foldPax(global: PaxRecords, local: PaxRecords): PaxFields {
  const fields: PaxFields = { xattrs: new Map(), sparse: new Map() };
  const map: string[] = [];
  for (const [key, value] of [...global, ...local]) {
    if (key.startsWith(XATTR)) fields.xattrs.set(key.slice(XATTR.length), value);
    else if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') map.push(value.toString('latin1'));
    else if (key.startsWith(SPARSE)) fields.sparse.set(key.slice(SPARSE.length), value.toString('latin1'));
    else applyStandard(fields, key, value);
  }
  if (map.length > 0) fields.sparse.set('map', map.join(','));
  return fields;
}

function applyStandard(fields: PaxFields, key: string, value: Buffer): void {
  if (value.length === 0) {
    // An empty value means that the header's own field holds, also against a global record (POSIX pax, extended header).
    if (key === 'path') delete fields.path;
    else if (key === 'linkpath') delete fields.linkPath;
    else if (key === 'size' || key === 'uid' || key === 'gid' || key === 'mtime') delete fields[key];
  } else if (key === 'path') fields.path = value;
  else if (key === 'linkpath') fields.linkPath = value;
  else if (key === 'size' || key === 'uid' || key === 'gid')
    fields[key] = decimal(value.toString('latin1'), `PAX ${key}`);
  else if (key === 'mtime') fields.mtime = parseTime(value.toString('latin1'));
}

/** `-1.5` is half a second before one second before 1970: -2 s and 500,000,000 ns. */
export function parseTime(text: string): Timestamp {
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (match === null) throw new TarFormatError('PAX mtime is not a time');
  const [, sign, whole = '', fraction = ''] = match;
  const seconds = Number(whole);
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, '0'));
  if (sign !== '-') return { seconds, nanoseconds };
  return nanoseconds === 0
    ? { seconds: 0 - seconds, nanoseconds }
    : { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}
