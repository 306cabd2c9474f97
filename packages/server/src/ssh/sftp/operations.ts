import { posix } from 'node:path';
import { DarkroomError } from '../../platform/errors.ts';
import type { FileEntry, FileStat } from '../../runtime/file-types.ts';
import type { SshSandbox } from '../../sandboxes/ssh-sandbox.ts';
import { attributesOf, longName, readAttributes } from './attributes.ts';
import type { Handles } from './handles.ts';
import { MAX_PACKET_BYTES } from './packets.ts';
import { nameString, type PacketReader, packet, REQUEST, RESPONSE, STATUS, string, uint32, uint64 } from './wire.ts';

const OPEN = { READ: 1, WRITE: 2, APPEND: 4, CREATE: 8, TRUNCATE: 16, EXCLUSIVE: 32 };
const MAX_DATA_BYTES = MAX_PACKET_BYTES - 1024;
const ENTRIES_AT_ONCE = 128;
const DEFAULT_FILE_MODE = 0o644;
const DEFAULT_DIRECTORY_MODE = 0o755;

/** Answers one request: the fields behind its id in, the packet out. */
type Operation = (id: Buffer, reader: PacketReader, context: Context) => Promise<Buffer>;

export interface Context {
  sandbox: SshSandbox;
  handles: Handles;
  /** Ends with the channel. */
  signal: AbortSignal;
}

export const status = (id: Buffer, code: number, message = ''): Buffer =>
  packet(RESPONSE.STATUS, id, uint32(code), string(Buffer.from(message)), string(Buffer.from('en')));
const ok = (id: Buffer) => status(id, STATUS.OK);
const tooManyFiles = (id: Buffer) => status(id, STATUS.FAILURE, 'too many open files');
const unsupported = (id: Buffer) => status(id, STATUS.OP_UNSUPPORTED, 'not supported');

/** The bytes of a request are a part of what was read together, and must not change under a write that is under way. */
export const OPERATIONS: Readonly<Record<number, Operation>> = {
  async [REQUEST.OPEN](id, reader, { sandbox, handles }) {
    const path = sandbox.resolve(reader.name());
    const flags = reader.uint32();
    const { mode = DEFAULT_FILE_MODE } = readAttributes(reader);
    const owner = ownerOf(sandbox);
    const exclusive = (flags & OPEN.EXCLUSIVE) !== 0;
    const appends = (flags & OPEN.APPEND) !== 0;
    const handle = await handles.add(async () => {
      const file = await sandbox.files.open(path, {
        read: (flags & OPEN.READ) !== 0,
        write: (flags & (OPEN.WRITE | OPEN.APPEND)) !== 0,
        append: appends,
        truncate: (flags & OPEN.TRUNCATE) !== 0,
        ...(flags & OPEN.CREATE ? { create: { mode, owner, exclusive } } : {}),
      });
      return { kind: 'file', file, appends, written: Promise.resolve() };
    });
    return handle === undefined ? tooManyFiles(id) : packet(RESPONSE.HANDLE, id, string(handle));
  },
  async [REQUEST.CLOSE](id, reader, { handles }) {
    await handles.close(reader.text());
    return ok(id);
  },
  async [REQUEST.READ](id, reader, { handles }) {
    const { file, written } = handles.file(reader.text());
    const [position, length] = [reader.uint64(), reader.uint32()];
    await written.catch(() => {});
    const data = await file.read(position, Math.min(length, MAX_DATA_BYTES));
    if (data.length === 0 && length > 0) return status(id, STATUS.EOF, 'end of file');
    return packet(RESPONSE.DATA, id, string(data));
  },
  async [REQUEST.WRITE](id, reader, { handles }) {
    const handle = handles.file(reader.text());
    const [position, data] = [reader.uint64(), reader.bytes()];
    // One after the other: appended pieces have no position, and overlapping ones an order.
    const write = handle.written.catch(() => {}).then(() => handle.file.write(handle.appends ? 0 : position, data));
    handle.written = write;
    await write;
    return ok(id);
  },
  async [REQUEST.FSTAT](id, reader, { handles }) {
    return attributes(id, await handles.file(reader.text()).file.stat());
  },
  async [REQUEST.FSETSTAT](id, reader, { handles }) {
    const { file } = handles.file(reader.text());
    await file.change(readAttributes(reader));
    return ok(id);
  },
  async [REQUEST.STAT](id, reader, { sandbox }) {
    return attributes(id, await sandbox.files.stat(sandbox.resolve(reader.name())));
  },
  async [REQUEST.LSTAT](id, reader, { sandbox }) {
    return attributes(id, await sandbox.files.lstat(sandbox.resolve(reader.name())));
  },
  async [REQUEST.SETSTAT](id, reader, { sandbox }) {
    const path = sandbox.resolve(reader.name());
    await sandbox.files.change(path, readAttributes(reader));
    return ok(id);
  },
  async [REQUEST.OPENDIR](id, reader, { sandbox, handles }) {
    const path = sandbox.resolve(reader.name());
    const handle = await handles.add(async () => {
      const [own, parent] = await Promise.all([sandbox.files.stat(path), sandbox.files.stat(`${path}/..`)]);
      return { kind: 'directory', entries: withDots(own, parent, sandbox.files.list(path)), ended: false };
    });
    return handle === undefined ? tooManyFiles(id) : packet(RESPONSE.HANDLE, id, string(handle));
  },
  async [REQUEST.READDIR](id, reader, { sandbox, handles }) {
    const directory = handles.directory(reader.text());
    const found: FileEntry[] = [];
    while (found.length < ENTRIES_AT_ONCE && !directory.ended) {
      const next = await directory.entries.next();
      if (next.done) directory.ended = true;
      else found.push(next.value);
    }
    if (found.length === 0) return status(id, STATUS.EOF, 'end of directory');
    const names = await sandbox.files.ownerNames();
    const encoded = found.map(({ name, stat }) => {
      const long = longName(name, stat, names.owner(stat.uid), names.group(stat.gid));
      return Buffer.concat([nameString(name), nameString(long), attributesOf(stat)]);
    });
    return packet(RESPONSE.NAME, id, uint32(encoded.length), ...encoded);
  },
  async [REQUEST.REMOVE](id, reader, { sandbox, signal }) {
    await sandbox.files.remove(sandbox.resolve(reader.name()), { recursive: false, signal });
    return ok(id);
  },
  async [REQUEST.MKDIR](id, reader, { sandbox }) {
    const path = sandbox.resolve(reader.name());
    const { mode = DEFAULT_DIRECTORY_MODE } = readAttributes(reader);
    await sandbox.files.makeDirectory(path, { mode, owner: ownerOf(sandbox), parents: false });
    return ok(id);
  },
  async [REQUEST.RMDIR](id, reader, { sandbox }) {
    await sandbox.files.removeDirectory(sandbox.resolve(reader.name()));
    return ok(id);
  },
  async [REQUEST.REALPATH](id, reader, { sandbox }) {
    return oneName(id, await realPath(sandbox, sandbox.resolve(reader.name())));
  },
  async [REQUEST.READLINK](id, reader, { sandbox }) {
    return oneName(id, await sandbox.files.readLink(sandbox.resolve(reader.name())));
  },
  async [REQUEST.SYMLINK](id, reader, { sandbox }) {
    // The target first: OpenSSH has always sent it so, against the draft, and everybody follows it.
    const [target, path] = [reader.name(), sandbox.resolve(reader.name())];
    await sandbox.files.makeLink(target, path, ownerOf(sandbox));
    return ok(id);
  },
  async [REQUEST.RENAME](id, reader, context) {
    return rename(id, reader, context, false);
  },
  async [REQUEST.EXTENDED](id, reader, context) {
    switch (reader.text()) {
      case 'posix-rename@openssh.com':
        return rename(id, reader, context, true);
      case 'fsync@openssh.com':
        await context.handles.file(reader.text()).file.sync();
        return ok(id);
      case 'limits@openssh.com': {
        const limits = [MAX_PACKET_BYTES, MAX_DATA_BYTES, MAX_DATA_BYTES, 0];
        return packet(RESPONSE.EXTENDED, id, ...limits.map(uint64));
      }
      default:
        return unsupported(id);
    }
  },
};

export const EXTENSIONS = ['posix-rename@openssh.com', 'fsync@openssh.com', 'limits@openssh.com'];

const NO_ATTRIBUTES = uint32(0);
const attributes = (id: Buffer, stat: FileStat) => packet(RESPONSE.ATTRS, id, attributesOf(stat));
const ownerOf = ({ user }: SshSandbox) => ({ uid: user.uid, gid: user.gid });

function oneName(id: Buffer, name: string): Buffer {
  return packet(RESPONSE.NAME, id, uint32(1), nameString(name), nameString(name), NO_ATTRIBUTES);
}

async function rename(id: Buffer, reader: PacketReader, { sandbox, signal }: Context, replace: boolean) {
  const [from, to] = [sandbox.resolve(reader.name()), sandbox.resolve(reader.name())];
  await sandbox.files.rename(from, to, { replace, signal });
  return ok(id);
}

/** Of what is not there, too: clients ask for the path of a file that they are about to make. */
async function realPath(sandbox: SshSandbox, path: string): Promise<string> {
  try {
    return await sandbox.files.realPath(path);
  } catch (error) {
    if (error instanceof DarkroomError && error.code === 'not_found') return posix.normalize(path);
    throw error;
  }
}

/** Clients expect the directory itself and its parent, too. */
async function* withDots(
  own: FileStat,
  parent: FileStat,
  entries: AsyncIterable<FileEntry>,
): AsyncGenerator<FileEntry> {
  yield { name: '.', stat: own };
  yield { name: '..', stat: parent };
  yield* entries;
}
