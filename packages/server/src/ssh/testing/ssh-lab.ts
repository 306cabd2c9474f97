import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type HttpClient, httpClient } from '../../test-support/http-client.ts';
import { busybox } from '../../test-support/layers.ts';
import { startTestServer, type TestServer } from '../../test-support/test-server.ts';

type Program = ChildProcess & { stdin: NonNullable<ChildProcess['stdin']> };
type Finished = { code: unknown; bytes: Buffer; stdout: string; stderr: string };

/** A server with a sandbox of busybox in it, and the real clients of OpenSSH, which check its host key. */
export interface SshLab {
  server: TestServer;
  client: HttpClient;
  organizationId: string;
  snapshot: string;
  /** Of the sandbox, and a token that opens it. */
  id: string;
  token: string;
  scratch: string;
  newAccess(
    query?: string,
    sandbox?: string,
  ): Promise<{ id: string; token: string; sshCommand: string; expiresAt: string }>;
  startSsh(command: readonly string[], more?: readonly string[], token?: string): Program;
  ssh(command: string, input?: Buffer | string, more?: readonly string[]): Promise<Finished>;
  scp(...args: string[]): Promise<Finished>;
  sftp(batch: string): Promise<Finished>;
  /** As scp names a path of the sandbox. */
  remote(path: string): string;
  isRunning(program: string): Promise<boolean>;
  /** Tells the clients where the server is now, after a restart. */
  learnHostKey(): Promise<void>;
  /** Kills the clients that a test left. */
  tidy(): void;
  stop(): Promise<void>;
}

export async function startSshLab(): Promise<SshLab> {
  const scratch = await mkdtemp(join(tmpdir(), 'darkroom-ssh-'));
  const server = await startTestServer();
  const organizationId = await server.addOrganization();
  const client = httpClient(() => server.url, await server.addKey(organizationId));
  const image = JSON.stringify({ env: ['FROM_IMAGE=yes'], user: 'app', workingDir: '/home/app' });
  const snapshot = await server.addSnapshot(organizationId, busybox, { image });
  const { id } = (await client.post('/api/sandbox', { snapshot })).body;
  const newAccess: SshLab['newAccess'] = async (query = '', sandbox = id) =>
    (await client.post(`/api/sandbox/${sandbox}/ssh-access${query}`)).body;
  const { token } = await newAccess();
  const children = new Set<ChildProcess>();

  /** Nothing of the machine's own settings is used. */
  const options = [
    ...['-F', 'none', '-o', `UserKnownHostsFile=${join(scratch, 'known_hosts')}`, '-o', 'StrictHostKeyChecking=yes'],
    ...['-o', 'BatchMode=yes', '-o', 'IdentitiesOnly=yes', '-o', 'IdentityAgent=none', '-o', 'LogLevel=ERROR'],
  ];
  const port = () => `${server.ssh.address.port}`;
  function start(program: string, args: readonly string[]): Program {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    children.add(child);
    child.once('close', () => children.delete(child));
    return child;
  }
  const startSsh: SshLab['startSsh'] = (command, more = [], as = token) =>
    start('ssh', [...options, ...more, '-p', port(), `${as}@127.0.0.1`, ...command]);
  const ssh: SshLab['ssh'] = (command, input = '', more = []) => finished(startSsh([command], more), input);
  const learnHostKey = () =>
    writeFile(join(scratch, 'known_hosts'), `[127.0.0.1]:${port()} ${server.ssh.hostKey.publicKey}\n`);
  await learnHostKey();
  return {
    ...{ server, client, organizationId, snapshot, id, token, scratch },
    ...{ newAccess, startSsh, ssh, learnHostKey },
    scp: (...args) => finished(start('scp', [...options, '-P', port(), ...args])),
    sftp: (batch) => finished(start('sftp', [...options, '-b', '-', '-P', port(), `${token}@127.0.0.1`]), batch),
    remote: (path) => `${token}@127.0.0.1:${path}`,
    isRunning: async (name) => (await ssh(`pidof ${name}`)).code === 0,
    tidy() {
      for (const child of children) child.kill('SIGKILL');
      children.clear();
    },
    async stop() {
      await server.stop();
      await rm(scratch, { recursive: true, force: true });
    },
  };
}

/** Gives a client its whole input and waits for its end. */
export async function finished(child: ChildProcess, input: Buffer | string = ''): Promise<Finished> {
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  const pieces: Buffer[] = [];
  child.stdout?.on('data', (piece: Buffer) => pieces.push(piece));
  const errors = child.stderr === null ? Promise.resolve('') : text(child.stderr);
  const [code] = await once(child, 'close');
  const bytes = Buffer.concat(pieces);
  return { code, bytes, stdout: bytes.toString('utf8'), stderr: await errors };
}

export const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
