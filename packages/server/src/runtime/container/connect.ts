import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { conflict, DarkroomError, errnoOf, invalidRequest, notFound } from '../../platform/errors.ts';
import { beginConnect, isConnected, socketInNamespace } from '../../platform/libc-socket.ts';
import { notRunning } from './container-root.ts';
import type { LiveContainer } from './live-container.ts';

/** A server in the sandbox whose queue of connections is full drops new ones until it accepts some. */
const CONNECT_TIMEOUT_MS = 10_000;
const LONGEST_PAUSE_MS = 50;

/** What the next address may still answer: nothing listens at this one, or the sandbox has no such address. */
const TRY_NEXT = new Set([
  'ECONNREFUSED',
  'EADDRNOTAVAIL',
  'EAFNOSUPPORT',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ECONNRESET',
]);

/** Connects from inside the sandbox, so that it makes no difference which of its addresses a server listens on. */
export async function connectInContainer(
  container: LiveContainer,
  port: number,
  options: { address: string; signal?: AbortSignal | undefined },
): Promise<Socket> {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalidRequest(`${port} is not a port`);
  const { signal } = options;
  signal?.throwIfAborted();
  const deadline = performance.now() + CONNECT_TIMEOUT_MS;
  for (const address of ['127.0.0.1', '::1', options.address]) {
    try {
      return socketOf(await connect(container, { address, port, deadline, signal }));
    } catch (error) {
      if (!TRY_NEXT.has(errnoOf(error) ?? '')) throw portError(error, container.id, port, signal);
    }
  }
  throw notFound(`nothing listens on port ${port} of sandbox ${container.id}`, {
    hint: 'Start a server on this port in the sandbox; any of its addresses will do.',
    retryable: true,
  });
}

interface Target {
  address: string;
  port: number;
  deadline: number;
  signal: AbortSignal | undefined;
}

async function connect(container: LiveContainer, { address, port, deadline, signal }: Target): Promise<number> {
  const fd = openSocket(container, address);
  try {
    if (beginConnect(fd, address, port)) return fd;
    for (let pause = 1; performance.now() < deadline; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      await sleep(pause, undefined, { signal });
      if (isConnected(fd, `${address}:${port}`)) return fd;
    }
    throw new DarkroomError('timeout', `port ${port} of sandbox ${container.id} takes no connection`, {
      hint: 'The server in the sandbox does not accept connections, or has too many waiting.',
      retryable: true,
    });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function openSocket(container: LiveContainer, address: string): number {
  let namespace: number;
  try {
    namespace = openSync(`/proc/${container.pid}/ns/net`, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') throw notRunning(container.id);
    throw error;
  }
  try {
    // Alive after the open means that the pid was this container's during the open.
    if (!container.isAlive()) throw notRunning(container.id);
    return socketInNamespace(namespace, address);
  } finally {
    closeSync(namespace);
  }
}

function socketOf(fd: number): Socket {
  try {
    return new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function portError(error: unknown, id: string, port: number, signal: AbortSignal | undefined): unknown {
  if (error instanceof DarkroomError) return error;
  if (signal?.aborted) return signal.reason;
  const cause = { cause: error };
  switch (errnoOf(error)) {
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOBUFS':
    case 'ENOMEM':
      return new DarkroomError('unavailable', 'too many connections are open', { ...cause, retryable: true });
    case 'ETIMEDOUT':
      return new DarkroomError('timeout', `port ${port} of sandbox ${id} takes no connection`, {
        ...cause,
        retryable: true,
      });
    default:
      return conflict(`a connection to port ${port} of sandbox ${id} cannot be made`, cause);
  }
}
