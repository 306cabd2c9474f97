import { arch } from 'node:process';
import koffi from 'koffi';
import { checked, libc } from './libc.ts';

const c = {
  create: libc.func('int epoll_create1(int flags)'),
  ctl: libc.func('int epoll_ctl(int epoll, int operation, int fd, void *event)'),
  wait: libc.func('int epoll_wait(int epoll, _Out_ void *events, int count, int timeout)'),
  eventfd: libc.func('int eventfd(uint32_t value, int flags)'),
};

const CLOEXEC = 0o2000000;
const NONBLOCK = 0o4000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;
const EPOLLOUT = 4;
const EPOLLONESHOT = 1 << 30;
const BATCH = 64;

/** `struct epoll_event` is packed on x86-64 only. */
const LAYOUT = arch === 'x64' ? { size: 12, data: 4 } : { size: 16, data: 8 };

export function epollCreate(): number {
  return checked('epoll_create1', c.create(CLOEXEC));
}

export function eventFd(options: { blocking: boolean } = { blocking: true }): number {
  return checked('eventfd', c.eventfd(0, CLOEXEC | (options.blocking ? 0 : NONBLOCK)));
}

/** Reports `token` once, when `fd` becomes readable, or writable where that is asked for. */
export function epollAddOnce(
  epoll: number,
  fd: number,
  token: number,
  until: 'readable' | 'writable' = 'readable',
): void {
  const event = Buffer.alloc(LAYOUT.size);
  event.writeUInt32LE((until === 'readable' ? EPOLLIN : EPOLLOUT) | EPOLLONESHOT, 0);
  event.writeUInt32LE(token, LAYOUT.data);
  checked('epoll_ctl', c.ctl(epoll, EPOLL_CTL_ADD, fd, event), String(fd));
}

export function epollRemove(epoll: number, fd: number): void {
  checked('epoll_ctl', c.ctl(epoll, EPOLL_CTL_DEL, fd, null), String(fd));
}

/** Blocks the calling thread until something is readable. Only for a thread that has nothing else to do. */
export function epollWait(epoll: number): number[] {
  const events = Buffer.alloc(LAYOUT.size * BATCH);
  const count = c.wait(epoll, events, BATCH, -1);
  if (count < 0 && koffi.errno() === koffi.os.errno.EINTR) return [];
  checked('epoll_wait', count);
  return Array.from({ length: count }, (_, i) => events.readUInt32LE(i * LAYOUT.size + LAYOUT.data));
}
