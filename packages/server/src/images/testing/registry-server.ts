import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { run } from '../../platform/process.ts';
import { type TestImage, writeLayout } from './test-image.ts';

/** The reference registry server (Debian's docker-registry), for tests, on a free port with storage of its own. */
export interface RegistryServer {
  /** `127.0.0.1:PORT`. */
  host: string;
  directory: string;
  /** Pushes with skopeo, every blob as it is. */
  push(name: string, image: TestImage, credentials?: { username: string; password: string }): Promise<void>;
  close(): Promise<void>;
}

export interface RegistryServerOptions {
  /** The `auth` part of its configuration; files that it names go into its directory. */
  auth?: (directory: string) => Promise<object>;
  /** More of the `http` part, such as `tls`. */
  http?: (directory: string, port: number) => Promise<object>;
}

const START_MS = 20_000;

export async function startRegistryServer(options: RegistryServerOptions = {}): Promise<RegistryServer> {
  const directory = await mkdtemp(join(tmpdir(), 'darkroom-registry-'));
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const config = {
    version: 0.1,
    log: { level: 'info', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: join(directory, 'data') }, delete: { enabled: true } },
    http: { addr: host, secret: 'secret', ...(await options.http?.(directory, port)) },
    ...(options.auth === undefined ? {} : { auth: await options.auth(directory) }),
  };
  // JSON is YAML.
  await writeFile(join(directory, 'config.yml'), JSON.stringify(config));
  const server = spawn('docker-registry', ['serve', join(directory, 'config.yml')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = new Promise<void>((resolve) => server.once('exit', () => resolve()));
  const close = async () => {
    server.kill('SIGKILL');
    await ended;
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await listening(server.stderr);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    host,
    directory,
    close,
    async push(name, image, credentials) {
      const layout = await mkdtemp(join(tmpdir(), 'darkroom-layout-'));
      try {
        await writeLayout(layout, image);
        const login =
          credentials === undefined ? [] : ['--dest-creds', `${credentials.username}:${credentials.password}`];
        const to = `docker://${host}/${name}`;
        const args = [
          'copy',
          '--insecure-policy',
          '--preserve-digests',
          '--dest-tls-verify=false',
          ...login,
          `oci:${layout}:latest`,
          to,
        ];
        await run('skopeo', args, { timeoutMs: 60_000 });
      } finally {
        await rm(layout, { recursive: true, force: true });
      }
    },
  };
}

function listening(stderr: NodeJS.ReadableStream): Promise<void> {
  return new Promise((resolve, reject) => {
    const said: string[] = [];
    const late = setTimeout(() => reject(new Error(`docker-registry does not start: ${said.join('\n')}`)), START_MS);
    const lines = createInterface({ input: stderr });
    lines.on('line', (line) => {
      said.push(line);
      if (!line.includes('listening on')) return;
      clearTimeout(late);
      resolve();
    });
    lines.once('close', () => {
      clearTimeout(late);
      reject(new Error(`docker-registry ended: ${said.join('\n')}`));
    });
  });
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
