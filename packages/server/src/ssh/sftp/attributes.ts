import type { FileChanges, FileStat } from '../../runtime/file-types.ts';
import { type PacketReader, uint32, uint64 } from './wire.ts';

const SIZE = 1;
const UIDGID = 2;
const PERMISSIONS = 4;
const TIMES = 8;
const EXTENDED = 0x80000000;

export function attributesOf(stat: FileStat): Buffer {
  const seconds = (ms: number) => uint32(Math.max(0, Math.min(Math.floor(ms / 1000), 0xffffffff)));
  return Buffer.concat([
    uint32(SIZE | UIDGID | PERMISSIONS | TIMES),
    uint64(stat.size),
    uint32(stat.uid),
    uint32(stat.gid),
    uint32(stat.mode),
    seconds(stat.atimeMs),
    seconds(stat.mtimeMs),
  ]);
}

/** What a client wants to be so. */
export function readAttributes(reader: PacketReader): FileChanges {
  const flags = reader.uint32();
  const changes: FileChanges = {};
  if (flags & SIZE) changes.size = reader.uint64();
  if (flags & UIDGID) {
    changes.owner = reader.uint32();
    changes.group = reader.uint32();
  }
  if (flags & PERMISSIONS) changes.mode = reader.uint32() & 0o7777;
  if (flags & TIMES) {
    changes.atimeMs = reader.uint32() * 1000;
    changes.mtimeMs = reader.uint32() * 1000;
  }
  if (flags & EXTENDED) {
    for (let left = reader.uint32(); left > 0; left--) {
      reader.bytes();
      reader.bytes();
    }
  }
  return changes;
}

const TYPES = new Map([
  [0o040000, 'd'],
  [0o120000, 'l'],
  [0o020000, 'c'],
  [0o060000, 'b'],
  [0o010000, 'p'],
  [0o140000, 's'],
]);
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** As `ls -l` writes it: clients show this line as it is. */
export function longName(name: string, stat: FileStat, owner: string, group: string): string {
  const bit = (mask: number, letter: string) => (stat.mode & mask ? letter : '-');
  const execute = (mask: number, special: number, letter: string) =>
    stat.mode & special ? (stat.mode & mask ? letter : letter.toUpperCase()) : bit(mask, 'x');
  const mode = [
    TYPES.get(stat.mode & 0o170000) ?? '-',
    bit(0o400, 'r') + bit(0o200, 'w') + execute(0o100, 0o4000, 's'),
    bit(0o040, 'r') + bit(0o020, 'w') + execute(0o010, 0o2000, 's'),
    bit(0o004, 'r') + bit(0o002, 'w') + execute(0o001, 0o1000, 't'),
  ].join('');
  const at = new Date(stat.mtimeMs);
  const day = `${MONTHS[at.getUTCMonth()]} ${String(at.getUTCDate()).padStart(2)}`;
  const time = at.toISOString().slice(11, 16);
  const isRecent = Math.abs(Date.now() - stat.mtimeMs) < 180 * 24 * 3_600_000;
  const when = `${day} ${isRecent ? time : ` ${at.getUTCFullYear()}`}`;
  return `${mode}    1 ${owner.padEnd(8)} ${group.padEnd(8)} ${String(stat.size).padStart(8)} ${when} ${name}`;
}
