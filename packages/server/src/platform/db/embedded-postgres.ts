import type { ChildProcess } from 'node:child_process';
import { open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import type { BaseLogger } from 'pino';
import { DarkroomError, errnoOf, messageOf } from '../errors.ts';
import type { DatabaseConnection } from './connection.ts';
import { findDatabaseUser, findPostgres, makeSocketDirectory } from './postgres-files.ts';
import { DATABASE_ROLE, ensureDataDirectory } from './postgres-init.ts';
import { makeLauncher } from './postgres-launch.ts';
import { waitForPredecessor } from './postgres-predecessor.ts';
import { settingsArguments } from './postgres-settings.ts';

export interface EmbeddedPostgres {
  connection: DatabaseConnection;
  /** The running postmaster; undefined between a death and the restart. */
  pid(): number | undefined;
  /** Ends the database after a checkpoint. Resolves when its process is gone. */
  stop(): Promise<void>;
}

/** Recovery after a power loss replays at most `max_wal_size`; a slow disk needs its time for that. */
const READY_TIMEOUT_MS = 120_000;
const PREDECESSOR_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 15_000;
const MAX_BACKOFF_MS = 5_000;
const FIRST_START_ATTEMPTS = 4;
const MAX_LOG_BYTES = 8 * 1024 * 1024;

/**
 * Starts the PostgreSQL that npm installed as a child on a unix socket, with its data in the state directory. It is told to
 * end when this process dies, however it dies; when it dies by itself it is started again.
 */
export async function startEmbeddedPostgres(options: {
  stateDir: string;
  log: Pick<BaseLogger, 'info' | 'warn' | 'error'>;
}): Promise<EmbeddedPostgres> {
  const { stateDir, log } = options;
  const { native } = await findPostgres();
  const dataDir = join(stateDir, 'postgres');
  const user = await findDatabaseUser(dataDir);
  const launcher = await makeLauncher(native, stateDir, user);
  const socketDir = await makeSocketDirectory(stateDir, user, launcher.direct);
  const connection: DatabaseConnection = { host: socketDir, user: DATABASE_ROLE, database: 'postgres' };
  const logPath = join(stateDir, 'postgres.log');
  let child: ChildProcess | undefined;
  const stopping = new AbortController();

  async function startOnce(): Promise<ChildProcess> {
    await waitForPredecessor(dataDir, socketDir, PREDECESSOR_TIMEOUT_MS);
    const logFile = await open(logPath, 'a', 0o600);
    try {
      await ensureDataDirectory(dataDir, user, launcher, { path: logPath, fd: logFile.fd });
      const args = ['-D', launcher.seen(dataDir), ...settingsArguments(socketDir)];
      const started = launcher.spawn('postgres', dataDir, { args, logFd: logFile.fd });
      await waitUntilReady(started, connection, logPath, stopping.signal);
      return started;
    } finally {
      await logFile.close();
    }
  }

  async function startWithRetries(attempts: number): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        child = await startOnce();
        child.once('exit', onExit);
        // It may have ended before anybody listened.
        if (hasEnded(child)) onExit(child.exitCode, child.signalCode);
        return;
      } catch (error) {
        const again = attempt < attempts && (attempts === Number.POSITIVE_INFINITY || isRetryable(error));
        if (stopping.signal.aborted || !again) throw error;
        const waitMs = Math.min(MAX_BACKOFF_MS, 100 * 2 ** attempt);
        log.warn({ err: error, attempt, waitMs }, `the database did not start: ${messageOf(error)}`);
        await delay(waitMs, undefined, { signal: stopping.signal });
      }
    }
  }

  function onExit(code: number | null, signal: NodeJS.Signals | null): void {
    if (child === undefined || stopping.signal.aborted) return;
    child = undefined;
    log.error({ code, signal, logPath }, 'the database ended by itself; starting it again');
    restarting = startWithRetries(Number.POSITIVE_INFINITY).catch(() => {});
  }

  let restarting: Promise<void> | undefined;
  await keepLogSmall(logPath);
  await startWithRetries(FIRST_START_ATTEMPTS);
  log.info({ dataDir, user: user.name, pid: child?.pid }, 'database started');
  return {
    connection,
    pid: () => child?.pid,
    async stop() {
      stopping.abort();
      await restarting;
      if (child !== undefined) await endChild(child);
      await launcher.close();
      await rm(socketDir, { recursive: true, force: true });
    },
  };
}

const isRetryable = (error: unknown) => error instanceof DarkroomError && error.retryable;
const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null;

async function waitUntilReady(
  child: ChildProcess,
  connection: DatabaseConnection,
  logPath: string,
  stopping: AbortSignal,
): Promise<void> {
  let failure: Error | undefined;
  child.once('error', (error) => {
    failure = error;
  });
  const deadline = performance.now() + READY_TIMEOUT_MS;
  for (let waitMs = 10; ; waitMs = Math.min(200, waitMs * 1.5)) {
    if (await answers(connection)) return;
    const ended = child.exitCode ?? child.signalCode;
    if (failure !== undefined || ended !== null || stopping.aborted || performance.now() > deadline) {
      await endChild(child);
      const why = failure?.message ?? (ended === null ? 'no answer in time' : `ended with ${ended}`);
      throw new DarkroomError('internal', `the database did not start (${why}): ${await lastWords(logPath)}`, {
        hint: `Its log is ${logPath}.`,
        // Processes of one that was killed may hold its shared memory for a moment.
        retryable: true,
        cause: failure,
      });
    }
    await delay(waitMs);
  }
}

async function answers(connection: DatabaseConnection): Promise<boolean> {
  const client = new Client({ ...connection, connectionTimeoutMillis: 2_000 });
  client.on('error', () => {});
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

/** SIGINT disconnects the clients and writes a checkpoint; SIGQUIT leaves the work to the next start. */
async function endChild(child: ChildProcess): Promise<void> {
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    if (child.pid === undefined || hasEnded(child)) return;
    const ended = new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), STOP_TIMEOUT_MS);
      child.once('exit', () => {
        clearTimeout(timer);
        resolve(true);
      });
    });
    child.kill(signal);
    if (await ended) return;
  }
}

async function lastWords(logPath: string): Promise<string> {
  const handle = await open(logPath, 'r');
  try {
    const { size } = await handle.stat();
    const from = Math.max(0, size - 1500);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(1500), 0, 1500, from);
    return buffer.toString('utf8', 0, bytesRead).trim();
  } finally {
    await handle.close();
  }
}

async function keepLogSmall(logPath: string): Promise<void> {
  try {
    if ((await stat(logPath)).size > MAX_LOG_BYTES) await rename(logPath, `${logPath}.1`);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
