import { flushCompileCache } from 'node:module';
import { join } from 'node:path';
import type { RunningServer } from '@darkroom/server';
import type { Config } from '@darkroom/server/machine';
import { ensurePool, lockStateDir, messageOf, type Pool, poolFreeBytes } from '@darkroom/server/machine';
import { EXIT_FAILURE } from './report-error.ts';
import { untilStopSignal } from './stop-signals.ts';

/** Longer than the server's own patience with what it drains. */
const STOP_TIMEOUT_MS = 60_000;

/** The second life of `darkroom up`: the server, until a signal ends it. */
export async function serve(config: Config, options: { hostMountNamespace: string }): Promise<number> {
  const lock = lockStateDir(config.stateDir);
  const stopSignal = untilStopSignal().then(announceStop);
  const pool = await ensurePool({ stateDir: config.stateDir, maxBytes: config.pool.maxBytes });
  const { startServer } = await import('@darkroom/server');
  const server = await startServer(config, { pool, hostMountNamespace: options.hostMountNamespace });
  process.stdout.write(await startLines(config, pool, server));
  // Else written at an end in order alone: who is killed at every start would compile everything at every start.
  flushCompileCache();

  await stopSignal;
  try {
    await server.stop();
  } catch (error) {
    process.stderr.write(`darkroom: stopping failed: ${messageOf(error)}\n`);
    process.exitCode = EXIT_FAILURE;
  }
  lock.release();
  // Nothing that a library left open may keep a stopped server alive.
  process.exit();
}

/** Counts from the signal, also when it came during the start: that is waited for too. */
function announceStop(signal: NodeJS.Signals): void {
  process.stdout.write(`${signal}: stopping; sandboxes go on running\n`);
  setTimeout(() => {
    process.stderr.write(`darkroom: not stopped within ${STOP_TIMEOUT_MS / 1000} s, ending now\n`);
    process.exit(EXIT_FAILURE);
  }, STOP_TIMEOUT_MS);
}

async function startLines(config: Config, pool: Pool, { url, ssh, caFile }: RunningServer): Promise<string> {
  const free = `${((await poolFreeBytes(pool)) / 2 ** 30).toFixed(1)} GiB free`;
  const kind = pool.kind === 'image' ? `${pool.fileSystem} image` : pool.fileSystem;
  const credentials = join(config.stateDir, 'credentials.json');
  return [
    `State directory  ${config.stateDir} (pool: ${kind}, ${free})`,
    `Database         ${databaseName(config)}`,
    `Listening on     ${url}`,
    ...(caFile === undefined ? [] : trustLines(caFile)),
    `SSH              ${ssh === undefined ? 'off' : `${ssh.address.host}:${ssh.address.port} (${ssh.hostKey.fingerprint})`}`,
    `Credentials      ${credentials}`,
    `Next             set DAYTONA_API_URL=${url}/api and DAYTONA_API_KEY to the apiKey there; routes: ${url}/docs`,
    '',
  ].join('\n');
}

/** Nobody knows a CA of our own making until told. The Python SDK clears its environment before it opens uploads. */
function trustLines(caFile: string): string[] {
  return [
    `Trust            ${caFile}: clients must be told to trust this CA`,
    `  in a shell     export NODE_EXTRA_CA_CERTS=${caFile} SSL_CERT_FILE=${caFile}`,
    `  everywhere     sudo cp ${caFile} /usr/local/share/ca-certificates/darkroom.crt && sudo update-ca-certificates`,
    '                 (uploads of the Python SDK need the second: they look at no variable)',
  ];
}

function databaseName({ database, stateDir }: Config): string {
  if (database.url === undefined) return `embedded PostgreSQL in ${stateDir}`;
  // Never the user's password.
  const { host, pathname } = new URL(database.url);
  return `PostgreSQL at ${host}${pathname}`;
}
