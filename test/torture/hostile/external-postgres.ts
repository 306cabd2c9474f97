import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { run } from '../../../packages/server/src/platform/process.ts';
import { eventually } from '../../support/eventually.ts';

/** A PostgreSQL of the system, as an operator runs one: nobody but the test starts it again. */
export interface ExternalPostgres {
  url: string;
  pid(): number;
  /** SIGKILL of the postmaster. */
  kill(): Promise<void>;
  start(): Promise<void>;
  destroy(): Promise<void>;
}

export async function startExternalPostgres(env: Record<string, string> = {}): Promise<ExternalPostgres> {
  const bin = await findPrograms();
  const { uid, gid } = await userOf('postgres');
  const directory = await mkdtemp(join(tmpdir(), 'darkroom-external-'));
  await chown(directory, uid, gid);
  await chmod(directory, 0o700);
  const data = join(directory, 'data');
  const asUser = ['--reuid', `${uid}`, '--regid', `${gid}`, '--clear-groups'];
  const port = await freePort();
  const url = `postgresql://darkroom@127.0.0.1:${port}/postgres`;
  let child: ChildProcess | undefined;

  const ended = ({ exitCode, signalCode }: ChildProcess) => exitCode !== null || signalCode !== null;
  async function start(): Promise<void> {
    const settings = { listen_addresses: '127.0.0.1', port, unix_socket_directories: directory, max_connections: 300 };
    const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    // The variables are for the database alone: what a preloaded library shares belongs to the user that it first ran as.
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const command = ['env', ...variables, join(bin, 'postgres'), '-D', data, ...args];
    const started = spawn('setpriv', [...asUser, '--pdeathsig', 'INT', ...command], {
      cwd: directory,
      stdio: 'ignore',
    });
    child = started;
    await eventually('the external database answers', async () => {
      if (ended(started)) throw new Error('the external database ended at its start');
      const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
      client.on('error', () => {});
      return client.connect().then(
        async () => {
          await client.end();
          return true;
        },
        () => undefined,
      );
    });
  }
  async function end(signal: NodeJS.Signals): Promise<void> {
    if (child === undefined || ended(child)) return;
    const gone = once(child, 'exit');
    child.kill(signal);
    await gone;
  }
  const destroy = async () => {
    await end('SIGQUIT');
    await rm(directory, { recursive: true, force: true });
  };

  try {
    const init = ['-D', data, '-U', 'darkroom', '--auth=trust', '--encoding=UTF8', '--locale=C.UTF-8'];
    await run('setpriv', [...asUser, join(bin, 'initdb'), ...init], { timeoutMs: 60_000, cwd: directory });
    await start();
  } catch (error) {
    await destroy();
    throw error;
  }
  return { url, start, destroy, pid: () => child?.pid ?? -1, kill: () => end('SIGKILL') };
}

async function findPrograms(): Promise<string> {
  const [newest] = (await readdir('/usr/lib/postgresql')).sort((a, b) => Number(b) - Number(a));
  return join('/usr/lib/postgresql', newest ?? '', 'bin');
}

async function userOf(name: string): Promise<{ uid: number; gid: number }> {
  const line = (await readFile('/etc/passwd', 'utf8')).split('\n').find((entry) => entry.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  if (uid === undefined || gid === undefined) throw new Error(`there is no user ${name}`);
  return { uid: Number(uid), gid: Number(gid) };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
