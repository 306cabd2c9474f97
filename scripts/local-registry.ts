import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { run } from '../packages/server/src/platform/process.ts';

export interface LocalRegistry {
  /** `http://127.0.0.1:PORT`, usable as a mirror of `docker.io`. */
  url: string;
  /** `127.0.0.1:PORT`, for image references. */
  host: string;
  /** Copies an image of an OCI layout (`DIR:TAG`) to `repository:tag` here. Blobs that are there are not sent again. */
  push(layout: string, target: string): Promise<void>;
  close(): Promise<void>;
}

/** A port of loopback that nobody listens on right now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') return reject(new Error('no TCP address'));
      server.close(() => resolve(address.port));
    });
  });
}

/** The reference registry server (Debian's `docker-registry`) over a directory of its own, on a free port of loopback. */
export async function startLocalRegistry(directory: string): Promise<LocalRegistry> {
  await mkdir(join(directory, 'blobs'), { recursive: true });
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const configFile = join(directory, `config-${port}.yml`);
  await writeFile(
    configFile,
    [
      'version: 0.1',
      'log: {level: warn, accesslog: {disabled: true}}',
      `storage: {filesystem: {rootdirectory: ${join(directory, 'blobs')}}, delete: {enabled: true}}`,
      `http: {addr: "${host}"}`,
      '',
    ].join('\n'),
  );
  const child = spawn('docker-registry', ['serve', configFile], { stdio: 'ignore' });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  failed.catch(() => {});
  await Promise.race([untilAnswers(`http://${host}/v2/`), failed]);
  return {
    url: `http://${host}`,
    host,
    async push(layout, target) {
      await run(
        'skopeo',
        ['copy', '--quiet', '--dest-tls-verify=false', `oci:${layout}`, `docker://${host}/${target}`],
        {
          timeoutMs: 120_000,
        },
      );
    },
    async close() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

async function untilAnswers(url: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (Date.now() < deadline) {
    const answer = await fetch(url).catch(() => undefined);
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`the registry at ${url} did not answer within 10 s`);
}
