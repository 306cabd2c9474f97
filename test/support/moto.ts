import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { eventually } from './eventually.ts';
import { pythonWith } from './python-sdk.ts';

export interface Moto {
  url: string;
  bucket: string;
  client: S3Client;
  stop(): Promise<void>;
}

const START_MS = 60_000;

/** The S3 of moto, a server of others, in memory, with one bucket. */
export async function startMoto(): Promise<Moto> {
  const python = await pythonWith('moto-5.2.5', ['moto[server]==5.2.5']);
  const port = await freePort();
  const child = spawn(python, ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  const url = `http://127.0.0.1:${port}`;
  const credentials = { accessKeyId: 'key', secretAccessKey: 'secret' };
  const client = new S3Client({ endpoint: url, region: 'us-east-1', forcePathStyle: true, credentials });
  const bucket = 'kept';
  async function stop() {
    client.destroy();
    child.kill('SIGKILL');
    await ended;
  }
  try {
    await eventually(
      'moto answers',
      () => client.send(new CreateBucketCommand({ Bucket: bucket })).catch(() => undefined),
      START_MS,
    );
    return { url, bucket, client, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('expected a port');
  return address.port;
}
