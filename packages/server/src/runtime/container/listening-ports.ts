import { closeSync, openSync } from 'node:fs';
import { errnoOf } from '../../platform/errors.ts';
import { notRunning } from './container-root.ts';
import type { LiveContainer } from './live-container.ts';
import { readUpTo } from './read-up-to.ts';

/** The kernel lists what listens first; a sandbox with many connections must not cost more to ask. */
const TABLE_LIMIT = 1024 * 1024;
const LISTEN = '0A';

/** TCP ports that something in the container listens on, in order. */
export async function listeningPorts(container: LiveContainer): Promise<number[]> {
  const ports = new Set<number>();
  for (const table of ['tcp', 'tcp6']) {
    for (const port of portsIn(await readTable(container, table))) ports.add(port);
  }
  return [...ports].sort((a, b) => a - b);
}

/** `sl local_address rem_address st …`, an address being `HEX:PORT`. */
export function portsIn(table: string): number[] {
  return table
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , state]) => state === LISTEN)
    .map(([, local = '']) => Number.parseInt(local.slice(local.lastIndexOf(':') + 1), 16))
    .filter((port) => port > 0);
}

async function readTable(container: LiveContainer, name: string): Promise<string> {
  let fd: number;
  try {
    fd = openSync(`/proc/${container.pid}/net/${name}`, 'r');
  } catch (error) {
    // Without IPv6 in the kernel there is no table of it.
    if (errnoOf(error) === 'ENOENT' && container.isAlive()) return '';
    throw errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH' ? notRunning(container.id) : error;
  }
  try {
    // Alive after the open means that the pid was this container's during the open.
    if (!container.isAlive()) throw notRunning(container.id);
    return (await readUpTo(fd, TABLE_LIMIT)).toString('latin1');
  } finally {
    closeSync(fd);
  }
}
