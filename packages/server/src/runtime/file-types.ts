import type { Readable } from 'node:stream';

export interface FileStat {
  size: number;
  /** Permission and type bits, as in stat(2). */
  mode: number;
  mtimeMs: number;
  atimeMs: number;
  uid: number;
  gid: number;
}

/** Ids as the sandbox counts them. */
export interface FileOwner {
  uid: number;
  gid: number;
}

export interface FileEntry {
  name: string;
  /** Of the entry itself; a symbolic link is not followed. */
  stat: FileStat;
}

export interface WalkEntry {
  /** Absolute in the container; begins with the path that was walked. */
  path: string;
  /** Levels below that path: its own entries have 1. */
  depth: number;
  stat: FileStat;
  /** Opens a regular file; only until the next entry is asked for. Raises as `read` does. */
  open(): Promise<OpenFile>;
}

export interface FileChanges {
  /** A name of the container's passwd and group files, or a number. */
  owner?: string | number | undefined;
  group?: string | number | undefined;
  /** Permission bits with setuid, setgid and sticky. */
  mode?: number | undefined;
  /** Cuts or lengthens a regular file. */
  size?: number | undefined;
  /** Both or none. */
  atimeMs?: number | undefined;
  mtimeMs?: number | undefined;
}

export interface OpenOptions {
  read?: boolean;
  write?: boolean;
  /** Every write goes to the end. */
  append?: boolean;
  /** Empties it. */
  truncate?: boolean;
  /** Makes it, with this mode and owner, where it is not; with `exclusive` it must not be there. */
  create?: { mode: number; owner: FileOwner; exclusive?: boolean };
}

/** A regular file for random access. Several calls may be under way at once; `close` waits for them and may be called twice. */
export interface OpenFile {
  stat(): Promise<FileStat>;
  /** At most `length` bytes; fewer at the end of the file, none behind it. */
  read(position: number, length: number): Promise<Buffer>;
  /** Writes all of it. */
  write(position: number, bytes: Uint8Array): Promise<void>;
  change(changes: FileChanges): Promise<void>;
  /** Resolves when what was written is on disk. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Names for ids, as the container's own passwd and group files have them; the number where they have none. */
export interface FileOwnerNames {
  owner(uid: number): string;
  group(gid: number): string;
}

/**
 * Files inside a running container, resolved in its root by the kernel (`openat2`, `RESOLVE_IN_ROOT`), so that no symlink
 * leads out, not even one swapped during the call. Nothing runs in the container for it. All is done with the rights of the
 * container's root; what is made belongs to the given owner. Paths are absolute in the container; a byte b of a name that is not
 * UTF-8 is U+DC00 + b in every string here. No call waits for a FIFO or touches a device, and none reads or changes files of
 * /proc and its like. Errors: `not_found`, `forbidden`, `conflict` (it exists, is not empty, is a mount point or is in use),
 * `invalid_request` (a directory where a file is wanted, a device, a path that is none), `insufficient_storage`.
 */
export interface ContainerFiles {
  /** Streams a regular file. */
  read(path: string): Promise<{ stat: FileStat; stream: Readable }>;
  /**
   * Creates parents, writes beside the target and renames over it, so that a reader sees the old or the new file. What is
   * replaced keeps its owner and permissions. What fails leaves the old file.
   */
  write(path: string, content: Readable, owner: FileOwner): Promise<{ size: number }>;
  stat(path: string): Promise<FileStat>;
  /** Of a symbolic link itself. */
  lstat(path: string): Promise<FileStat>;
  readLink(path: string): Promise<string>;
  /** The path without links and dots of something that exists. */
  realPath(path: string): Promise<string>;
  ownerNames(): Promise<FileOwnerNames>;
  /** Entries in the order of the disk, without `.` and `..`; what vanishes meanwhile is left out. */
  list(path: string): AsyncIterable<FileEntry>;
  /**
   * Everything below a directory, a directory before what is in it; links are not followed, other file systems not entered.
   * What cannot be read is left out.
   */
  walk(path: string, options: { maxDepth?: number; signal: AbortSignal }): AsyncIterable<WalkEntry>;
  /** With `parents` those that are missing are made too, and one that exists is well. */
  makeDirectory(path: string, options: { mode: number; owner: FileOwner; parents: boolean }): Promise<void>;
  makeLink(target: string, path: string, owner: FileOwner): Promise<void>;
  /**
   * A file, a link, or with `recursive` a whole directory of any depth and size; a directory without it raises
   * `invalid_request`. Stays in its file system. One that is aborted leaves the rest.
   */
  remove(path: string, options: { recursive: boolean; signal: AbortSignal }): Promise<void>;
  /** An empty directory. */
  removeDirectory(path: string): Promise<void>;
  /** As rename(2); across file systems, and for directories of the image, by copy and delete. `replace` false raises `conflict`. */
  rename(from: string, to: string, options: { replace: boolean; signal: AbortSignal }): Promise<void>;
  /** Of a file, a directory or, with owner or group alone, what a link leads to. All or, when one fails, those before it. */
  change(path: string, changes: FileChanges): Promise<void>;
  /** Opens a regular file, through links. One that is made by a dangling link raises `conflict`. */
  open(path: string, options: OpenOptions): Promise<OpenFile>;
}
