import { readFile, rm } from 'node:fs/promises';
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { conflict, DarkroomError, errnoOf, invalidRequest, messageOf, notFound } from '../../../platform/errors.ts';
import { notRunning } from '../container-root.ts';
import type { LiveContainer } from '../live-container.ts';
import { kill, type Runsc, withNothing } from './runsc.ts';
import { wordsOf } from './runsc-failure.ts';
import { runscName } from './runsc-name.ts';

const CONNECT_TIMEOUT_MS = 10_000;
/** Its call is in our queue when it has ended. */
const CALL_TIMEOUT_MS = 1000;
const NOBODY_THERE = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ECONNRESET']);

let lastForward = 0;

export interface ConnectOptions {
  address: string;
  signal?: AbortSignal | undefined;
}

/**
 * The sandbox's address is tried from outside, which costs nothing; a server on loopback alone is reached by gVisor, which takes
 * one end of a local socket into the sandbox.
 */
export async function connectInGvisor(
  runsc: Runsc,
  directory: string,
  container: LiveContainer,
  port: number,
  { address, signal }: ConnectOptions,
): Promise<Socket> {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalidRequest(`${port} is not a port`);
  signal?.throwIfAborted();
  const limit = AbortSignal.timeout(CONNECT_TIMEOUT_MS);
  const either = signal === undefined ? limit : AbortSignal.any([limit, signal]);
  try {
    const direct = await fromOutside(address, port, either);
    return direct ?? (await throughGvisor(runsc, directory, container, port, either));
  } catch (error) {
    if (signal?.aborted === true) throw signal.reason;
    if (!container.isAlive()) throw notRunning(container.id);
    if (!limit.aborted) throw error;
    throw new DarkroomError('timeout', `port ${port} of sandbox ${container.id} takes no connection`, {
      hint: 'The server in the sandbox does not accept connections, or has too many waiting.',
      retryable: true,
      cause: error,
    });
  }
}

/** Undefined when nothing listens at the sandbox's address. */
function fromOutside(host: string, port: number, signal: AbortSignal): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host, port, allowHalfOpen: true });
    const onAbort = () => socket.destroy(signal.reason);
    const settle = () => {
      signal.removeEventListener('abort', onAbort);
      socket.off('error', onError);
    };
    const onError = (error: Error) => {
      settle();
      if (NOBODY_THERE.has(errnoOf(error) ?? '')) resolve(undefined);
      else reject(conflict(`a connection to port ${port} cannot be made: ${messageOf(error)}`, { cause: error }));
    };
    socket.on('error', onError);
    socket.once('connect', () => {
      settle();
      resolve(socket);
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

async function throughGvisor(
  runsc: Runsc,
  directory: string,
  container: LiveContainer,
  port: number,
  signal: AbortSignal,
): Promise<Socket> {
  lastForward += 1;
  const base = join(directory, `forward-${process.pid}-${lastForward}`);
  const files = { socket: `${base}.sock`, log: `${base}.log` };
  const server = createServer({ allowHalfOpen: true });
  let accepted: Socket | undefined;
  const { promise: hasCalled, resolve: called } = Promise.withResolvers<void>();
  server.on('connection', (socket) => {
    // Its user has handlers of its own later; until then an error means that it ended.
    socket.on('error', ignore);
    accepted = socket;
    called();
  });
  try {
    await listen(server, files.socket);
    const args = ['port-forward', '--stream', files.socket, runscName(container.id), String(port)];
    const child = withNothing((stdio) => runsc.spawn(files.log, args, stdio));
    const onAbort = () => kill(child);
    signal.addEventListener('abort', onAbort, { once: true });
    const { exitCode } = await child.exited.finally(() => signal.removeEventListener('abort', onAbort));
    signal.throwIfAborted();
    if (exitCode === 0) await Promise.race([hasCalled, sleep(CALL_TIMEOUT_MS, undefined, { ref: false })]);
    const words = exitCode === 0 ? '' : await readWords(files.log);
    if (exitCode === 0 && accepted !== undefined) {
      accepted.off('error', ignore);
      return accepted;
    }
    throw notFound(`nothing listens on port ${port} of sandbox ${container.id}`, {
      hint: 'Start a server on this port in the sandbox; any of its addresses will do.',
      retryable: true,
      cause: new Error(words || `runsc port-forward ended with ${exitCode}`),
    });
  } catch (error) {
    accepted?.destroy();
    throw error;
  } finally {
    server.close();
    await Promise.all(Object.values(files).map((file) => rm(file, { force: true })));
  }
}

const ignore = () => {};

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function readWords(log: string): Promise<string> {
  return wordsOf(await readFile(log, 'utf8').catch(() => ''));
}
