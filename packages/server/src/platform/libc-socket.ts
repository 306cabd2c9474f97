import { openSync, writeSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { abort } from 'node:process';
import koffi from 'koffi';
import { checked, libc, SystemCallError } from './libc.ts';

const c = {
  setns: libc.func('int setns(int fd, int type)'),
  socket: libc.func('int socket(int domain, int type, int protocol)'),
  connect: libc.func('int connect(int fd, const void *address, uint32_t size)'),
  poll: libc.func('int poll(_Inout_ void *fds, unsigned long count, int timeout)'),
  getsockopt: libc.func('int getsockopt(int fd, int level, int name, _Out_ void *value, _Inout_ uint32_t *size)'),
};

/** What both kinds of sockets here are made with: nothing about them blocks, and no child has them. */
const SOCK_STREAM = 1;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const SOL_SOCKET = 1;

/** A stream socket of this thread's network namespace; negative, with the errno set, when there is none. */
export function newSocket(domain: number): number {
  return c.socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

const CLONE_NEWNET = 0x40000000;
const AF_INET = 2;
const AF_INET6 = 10;
const SO_ERROR = 4;
const POLLOUT = 4;

/** Where this thread belongs. Opened before it is left for the first time, and kept. */
let home: number | undefined;

/**
 * A TCP socket that belongs to the network namespace open at `namespace`, whatever namespace its user is in; not blocking.
 * `setns` moves the calling thread alone, and everything until it is back is one synchronous stretch in which no JavaScript, and
 * no thread made by it, can run. A thread that cannot come back must not go on: it would serve the sandbox's network.
 */
export function socketInNamespace(namespace: number, address: string): number {
  home ??= openSync('/proc/thread-self/ns/net', 'r');
  const domain = isIPv6(address) ? AF_INET6 : AF_INET;
  checked('setns', c.setns(namespace, CLONE_NEWNET));
  let [fd, errno] = [-1, 0];
  try {
    fd = newSocket(domain);
    if (fd < 0) errno = koffi.errno();
  } finally {
    comeHome(home);
  }
  if (fd < 0) throw new SystemCallError('socket', errno, address);
  return fd;
}

function comeHome(namespace: number): void {
  if (c.setns(namespace, CLONE_NEWNET) === 0) return;
  writeSync(2, `darkroom: the way back from a sandbox's network failed (errno ${koffi.errno()})\n`);
  abort();
}

/** Begins to connect. True when that is done, false when it is under way; a failure raises with its errno. */
export function beginConnect(fd: number, address: string, port: number): boolean {
  const result = c.connect(fd, socketAddress(address, port), isIPv6(address) ? 28 : 16);
  if (result === 0) return true;
  if (koffi.errno() !== koffi.os.errno.EINPROGRESS) checked('connect', result, `${address}:${port}`);
  return isConnected(fd, `${address}:${port}`);
}

/** How a connect that is under way stands now; a failed one raises with its errno. Never waits. */
export function isConnected(fd: number, subject: string): boolean {
  const pollFd = Buffer.alloc(8);
  pollFd.writeInt32LE(fd, 0);
  pollFd.writeInt16LE(POLLOUT, 4);
  if (checked('poll', c.poll(pollFd, 1, 0), subject) === 0) return false;
  const value = Buffer.alloc(4);
  checked('getsockopt', c.getsockopt(fd, SOL_SOCKET, SO_ERROR, value, [4]), subject);
  const errno = value.readInt32LE(0);
  if (errno === 0) return true;
  throw new SystemCallError('connect', errno, subject);
}

/** `struct sockaddr_in` or `sockaddr_in6` of an address without a scope. */
function socketAddress(address: string, port: number): Buffer {
  if (!isIPv6(address)) {
    const bytes = Buffer.alloc(16);
    bytes.writeUInt16LE(AF_INET, 0);
    bytes.writeUInt16BE(port, 2);
    bytes.set(address.split('.').map(Number), 4);
    return bytes;
  }
  if (address !== '::1') throw new TypeError(`${address} is not an address that sockets connect to here`);
  const bytes = Buffer.alloc(28);
  bytes.writeUInt16LE(AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.writeUInt8(1, 23);
  return bytes;
}
