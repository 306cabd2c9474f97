/** A point in time as the kernel keeps it. Before 1970 `seconds` is negative; `nanoseconds` never is. */
export interface Timestamp {
  seconds: number;
  nanoseconds: number;
}

export type TarEntryType = 'file' | 'directory' | 'symlink' | 'hardlink' | 'fifo' | 'character-device' | 'block-device';

/** One member of an archive, with all its headers (ustar, GNU, PAX) folded into one. */
export interface TarEntry {
  type: TarEntryType;
  /** As it stands in the archive: any bytes, maybe absolute, maybe hostile. */
  name: Buffer;
  /** Target of a symlink or hard link. */
  linkName: Buffer;
  /** Permission bits with setuid, setgid and sticky. */
  mode: number;
  uid: number;
  gid: number;
  /** Length of the file, with its holes. */
  size: number;
  mtime: Timestamp;
  /** By name; names are latin1 strings of their bytes. */
  xattrs: ReadonlyMap<string, Buffer>;
  sparse: boolean;
  deviceMajor: number;
  deviceMinor: number;
}

/** What a reader calls, synchronously, while bytes are pushed into it. What the sink raises comes out of `push`. */
export interface TarSink {
  entry(entry: TarEntry): void;
  /** Data of the last entry, in ascending positions; holes are left out. The bytes are only valid during the call. */
  data(bytes: Buffer, position: number): void;
  endEntry(): void;
}

export interface TarReader {
  push(chunk: Buffer): void;
  /** The archive is over. Raises when it stops in the middle of something. */
  end(): void;
}

/** The bytes are not a tar archive, or not a whole one. */
export class TarFormatError extends Error {
  override readonly name = 'TarFormatError';
}

/** Headers of the pax and GNU kinds are held in memory, so they have a bound; the one that Go's reader has. */
export const MAX_META_BYTES = 1024 * 1024;
