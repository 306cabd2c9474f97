import { closeSync } from 'node:fs';
import koffi from 'koffi';
import { checked, libc } from './libc.ts';
import { newSocket, SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET } from './libc-socket.ts';

/** Unix sockets that pass descriptors, which Node's own cannot. Nothing here blocks. */
const c = {
  bind: libc.func('int bind(int fd, const void *address, uint32_t size)'),
  listen: libc.func('int listen(int fd, int backlog)'),
  accept: libc.func('int accept4(int fd, void *address, void *size, int flags)'),
  recvmsg: libc.func('long recvmsg(int fd, void *message, int flags)'),
};

const AF_UNIX = 1;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
/** `sun_path` with its terminating zero. */
const MAX_PATH_BYTES = 108;
/** `struct msghdr` on 64-bit Linux, the only kind here; `cmsghdr` is 16 bytes and its data follows. */
const MESSAGE_SIZE = 56;
const CONTROL_HEADER = 16;
/** Room for one descriptor and not a byte more: what else a sender adds, the kernel closes. */
const CONTROL_SIZE = CONTROL_HEADER + 4;

/**
 * The message points to the others by their addresses, which keeps nobody from freeing them: these stay. Calls are synchronous,
 * so one of each is enough.
 */
const data = Buffer.alloc(4096);
const vector = Buffer.alloc(16);
const control = Buffer.alloc(CONTROL_SIZE);

/** A listening socket at `path`, which must not exist yet. */
export function listenUnix(path: string): number {
  if (Buffer.byteLength(path) >= MAX_PATH_BYTES) throw new Error(`${path} is too long for a socket`);
  const fd = checked('socket', newSocket(AF_UNIX));
  try {
    const address = Buffer.alloc(2 + MAX_PATH_BYTES);
    address.writeUInt16LE(AF_UNIX, 0);
    address.write(path, 2);
    checked('bind', c.bind(fd, address, address.length), path);
    checked('listen', c.listen(fd, 1), path);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** The next connection; undefined when there is none yet. */
export function acceptUnix(fd: number): number | undefined {
  return unlessEmpty('accept4', c.accept(fd, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

/** The descriptor that came with the next message, `none` when it came without; undefined when there is no message yet. */
export function receiveDescriptor(fd: number): number | 'none' | undefined {
  vector.writeBigUInt64LE(BigInt(koffi.address(data)), 0);
  vector.writeBigUInt64LE(BigInt(data.length), 8);
  const message = Buffer.alloc(MESSAGE_SIZE);
  message.writeBigUInt64LE(BigInt(koffi.address(vector)), 16);
  message.writeBigUInt64LE(1n, 24);
  message.writeBigUInt64LE(BigInt(koffi.address(control)), 32);
  message.writeBigUInt64LE(BigInt(control.length), 40);
  const received = unlessEmpty('recvmsg', Number(c.recvmsg(fd, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC)));
  if (received === undefined) return undefined;
  if (Number(message.readBigUInt64LE(40)) < CONTROL_HEADER + 4) return 'none';
  const isDescriptor = control.readInt32LE(8) === SOL_SOCKET && control.readInt32LE(12) === SCM_RIGHTS;
  return isDescriptor ? control.readInt32LE(CONTROL_HEADER) : 'none';
}

function unlessEmpty(call: string, result: number): number | undefined {
  if (result < 0 && koffi.errno() === koffi.os.errno.EAGAIN) return undefined;
  return checked(call, result);
}
