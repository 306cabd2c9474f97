import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeImage, type TestImage } from '../../packages/server/src/images/testing/test-image.ts';
import { run } from '../../packages/server/src/platform/process.ts';
import { fillWithBusybox } from '../../packages/server/src/test-support/root-file-system.ts';
import type { Files } from './model.ts';

export interface TortureImage {
  repository: string;
  image: TestImage;
  /** What the checker finds in a sandbox of it. */
  files: Files;
}

/** Small images over one layer with a busybox; each has a file that tells it from the others, one of them a larger one, and one several layers. */
export async function makeImages(): Promise<TortureImage[]> {
  const tar = await busyboxTar();
  const config = { config: { Cmd: ['sh'], Env: ['PATH=/bin:/usr/bin'], WorkingDir: '/' } };
  const plain = { '/mark/': '', '/mark/image': 'plain\n' };
  const large = { '/mark/': '', '/mark/image': 'large\n', '/mark/large': pattern(1_000_000) };
  const first = { '/mark/': '', '/mark/image': 'one layer of several\n', '/mark/lower': 'lower\n' };
  const second = { '/mark/image': 'deep\n', '/mark/upper': pattern(10_000) };
  const make = (repository: string, ...layers: Record<string, string>[]): TortureImage => ({
    repository,
    image: makeImage([{ files: {}, tar }, ...layers.map((files) => ({ files: withoutRoot(files) }))], config),
    files: new Map(
      layers.flatMap((files) =>
        Object.entries(files)
          .filter(([path]) => !path.endsWith('/'))
          .map(([path, content]): [string, string] => [path, sha256(content)]),
      ),
    ),
  });
  return [make('torture/plain', plain), make('torture/large', large), make('torture/deep', first, second)];
}

export const sha256 = (content: string | Buffer) => createHash('sha256').update(content).digest('hex');

const pattern = (length: number) => 'a pattern that is no secret. '.repeat(Math.ceil(length / 29)).slice(0, length);

const withoutRoot = (files: Record<string, string>) =>
  Object.fromEntries(Object.entries(files).map(([path, content]) => [path.slice(1), content]));

async function busyboxTar(): Promise<Buffer> {
  const directory = await mkdtemp(join(tmpdir(), 'darkroom-torture-image-'));
  try {
    await fillWithBusybox(join(directory));
    const file = `${directory}.tar`;
    try {
      await run('tar', ['-C', directory, '--sort=name', '--mtime=@0', '-cf', file, '.'], { timeoutMs: 30_000 });
      return await readFile(file);
    } finally {
      await rm(file, { force: true });
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
