import { closeSync, constants, openSync } from 'node:fs';
import { checked, libc } from './libc.ts';
import { O_CLOEXEC } from './libc-files.ts';

const c = {
  ioctl: libc.func('int ioctl(int fd, unsigned long request, void *argument)'),
  ioctlNumber: libc.func('int ioctl(int fd, unsigned long request, long argument)'),
  fcntl: libc.func('int fcntl(int fd, int command, int argument)'),
};

/** The numbers of asm-generic, which every architecture that matters here has. */
const TIOCSWINSZ = 0x5414;
const TIOCSPTLCK = 0x40045431;
const TIOCGPTN = 0x80045430;
const TIOCGPTPEER = 0x5441;
const F_GETFL = 3;
const F_SETFL = 4;
const F_DUPFD_CLOEXEC = 1030;

export interface TerminalSize {
  cols: number;
  rows: number;
}

/** The foreground process group gets SIGWINCH when it changes. */
export function setTerminalSize(fd: number, { cols, rows }: TerminalSize): void {
  const size = Buffer.alloc(8);
  size.writeUInt16LE(rows, 0);
  size.writeUInt16LE(cols, 2);
  checked('ioctl', c.ioctl(fd, TIOCSWINSZ, size), 'TIOCSWINSZ');
}

/** Raises when it is not the master of a pseudo-terminal. */
export function checkTerminalMaster(fd: number): void {
  checked('ioctl', c.ioctl(fd, TIOCGPTN, Buffer.alloc(4)), 'TIOCGPTN');
}

/** The side of a terminal that programs have, whatever its path leads to; it becomes nobody's controlling terminal by this. */
export function openTerminalPeer(master: number): number {
  const flags = constants.O_RDWR | constants.O_NOCTTY | O_CLOEXEC;
  return checked('ioctl', c.ioctlNumber(master, TIOCGPTPEER, flags), 'TIOCGPTPEER');
}

export interface TerminalPair {
  master: number;
  peer: number;
  /** Of the peer. */
  path: string;
}

/** A new pseudo-terminal of the machine's own. The caller closes both sides. */
export function openTerminalPair(): TerminalPair {
  const master = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY);
  try {
    checked('ioctl', c.ioctl(master, TIOCSPTLCK, Buffer.alloc(4)), 'TIOCSPTLCK');
    const number = Buffer.alloc(4);
    checked('ioctl', c.ioctl(master, TIOCGPTN, number), 'TIOCGPTN');
    return { master, peer: openTerminalPeer(master), path: `/dev/pts/${number.readUInt32LE()}` };
  } catch (error) {
    closeSync(master);
    throw error;
  }
}

/** Another descriptor of the same open file, close-on-exec. */
export function duplicate(fd: number): number {
  return checked('fcntl', c.fcntl(fd, F_DUPFD_CLOEXEC, 3), String(fd));
}

/** For every descriptor of the same open file. */
export function setNonBlocking(fd: number): void {
  const flags = checked('fcntl', c.fcntl(fd, F_GETFL, 0), String(fd));
  checked('fcntl', c.fcntl(fd, F_SETFL, flags | constants.O_NONBLOCK), String(fd));
}
