import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

const IDENTITY = {
  GIT_AUTHOR_NAME: 'a',
  GIT_AUTHOR_EMAIL: 'a@b',
  GIT_COMMITTER_NAME: 'a',
  GIT_COMMITTER_EMAIL: 'a@b',
  GIT_AUTHOR_DATE: '1500000000 +0000',
  GIT_COMMITTER_DATE: '1500000000 +0000',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
};

/** Repositories served by git's own program over HTTP on loopback; below `open` for all, below `closed` with `user:secret`. */
export interface GitFixture {
  url: string;
  /** Runs git in the seed of the repository `open/repo.git`, and publishes it. */
  commit(change: (directory: string) => void, message?: string): string;
  git(...args: string[]): string;
  publish(name: string): void;
  seed: string;
  served: string;
  close(): Promise<void>;
}

export async function startGitFixture(root: string): Promise<GitFixture> {
  const seed = join(root, 'seed');
  const served = join(root, 'served');
  mkdirSync(seed, { recursive: true });
  const run = (directory: string, args: readonly string[]) =>
    execFileSync('git', ['-c', 'protocol.file.allow=always', ...args], {
      cwd: directory,
      env: { ...process.env, ...IDENTITY },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trim();
  run(seed, ['init', '-q', '-b', 'main']);
  const port = await freePort();
  const go = join(root, 'go');
  writeFileSync(go, '');
  const digest = createHash('sha256').update('user:secret').digest('hex');
  const script = join(import.meta.dirname, '../../../test-support/git-server.py');
  const server = spawn('python3', [script, served, String(port), digest, go], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await answering(`http://127.0.0.1:${port}/`, server);
  const publish = (name: string) => {
    mkdirSync(served, { recursive: true });
    execFileSync('rm', ['-rf', join(served, name)]);
    run(root, ['clone', '-q', '--bare', seed, join(served, name)]);
  };
  return {
    url: `http://127.0.0.1:${port}`,
    seed,
    served,
    publish,
    git: (...args) => run(seed, args),
    commit(change, message = 'a change') {
      change(seed);
      run(seed, ['add', '-A']);
      run(seed, ['commit', '-q', '--allow-empty', '-m', message]);
      publish('open/repo.git');
      return run(seed, ['rev-parse', 'HEAD']);
    },
    async close() {
      const ended = new Promise((resolve) => server.once('exit', resolve));
      if (server.kill('SIGKILL')) await ended;
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

async function answering(url: string, server: ChildProcess): Promise<void> {
  const until = performance.now() + 20_000;
  while (performance.now() < until && server.exitCode === null) {
    const answered = await fetch(url).then(
      () => true,
      () => false,
    );
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error('the git server does not answer');
}
