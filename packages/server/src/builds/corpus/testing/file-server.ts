import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildTar } from '../../../images/tar/testing/build-tar.ts';
import { type GitFixture, startGitFixture } from '../../files/testing/git-fixture.ts';

const MODIFIED = 'Tue, 14 Nov 2017 22:13:20 GMT';

/** By path; all as old as the others of the corpus. */
const FILES: Readonly<Record<string, Buffer>> = {
  '/file.txt': Buffer.from('served\n'),
  '/dir/other.txt': Buffer.from('other\n'),
  '/small.tar': buildTar([{ name: 'small', data: Buffer.from('small'), mode: 0o640, uid: 2, mtime: 1_500_000_001 }]),
  '/query?name=x&y=z': Buffer.from('asked\n'),
};

export interface FileServer {
  /** What the corpus gets as the ARG `FILES`. */
  files: string;
  /** The same for `GIT`: with `open/repo.git`, its branches `main` and `other` and its tag `v1`. */
  git: string;
  close(): Promise<void>;
}

/** Serves what ADD fetches, on loopback. */
export async function startFileServer(): Promise<FileServer> {
  const server = createServer((request, response) => {
    const body = FILES[request.url ?? ''];
    if (body === undefined) response.writeHead(404).end();
    else response.writeHead(200, { 'last-modified': MODIFIED, 'content-length': body.length }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  const root = mkdtempSync(join(tmpdir(), 'served-'));
  const git = await startGitFixture(root);
  fillRepository(git);
  return {
    files: `http://127.0.0.1:${address.port}`,
    git: git.url,
    async close() {
      await git.close();
      server.closeAllConnections();
      await new Promise<void>((resolve) => void server.close(() => resolve()));
      rmSync(root, { recursive: true, force: true });
    },
  };
}

function fillRepository(git: GitFixture): void {
  git.commit((directory) => {
    mkdirSync(join(directory, 'sub/deep'), { recursive: true });
    writeFileSync(join(directory, 'a.txt'), 'first\n');
    writeFileSync(join(directory, 'sub/deep/x.txt'), 'x\n');
    writeFileSync(join(directory, 'run.sh'), '#!/bin/sh\n', { mode: 0o755 });
    symlinkSync('sub/deep', join(directory, 'link'));
    symlinkSync('/etc/passwd', join(directory, 'out'));
  });
  git.git('tag', '-a', '-m', 'one', 'v1');
  git.git('branch', 'other');
  git.commit((directory) => {
    writeFileSync(join(directory, 'a.txt'), 'second\n');
    writeFileSync(join(directory, '.gitignore'), '*.o\n');
  });
}
