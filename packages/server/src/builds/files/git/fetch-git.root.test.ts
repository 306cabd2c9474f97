import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ID_BASE, ID_COUNT } from '../../../images/unpack/testing/layer-blob.ts';
import { describeTree } from '../../../images/unpack/testing/tree.ts';
import { type BuildFiles, createBuildFiles } from '../build-files.ts';
import { createRemoteFetcher, type RemoteFetcher } from '../fetch-remote.ts';
import { remoteSources } from '../remote-source.ts';
import { type GitFixture, startGitFixture } from '../testing/git-fixture.ts';
import { createTransferLab, type TransferLab } from '../testing/transfer-lab.ts';
import type { Fetched, TransferInstruction } from '../transfer-types.ts';

let root: string;
let server: GitFixture;
let fetcher: RemoteFetcher;
let lab: TransferLab;
let files: BuildFiles;
let first: string;
let second: string;
let directory: string;
let count = 0;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'git-'));
  server = await startGitFixture(root);
  fetcher = createRemoteFetcher({ idBase: ID_BASE, allowInternal: true, caFiles: [] });
  lab = await createTransferLab();
  files = createBuildFiles({ idBase: ID_BASE, idCount: ID_COUNT });
  first = server.commit((seed) => {
    mkdirSync(join(seed, 'sub/deep'), { recursive: true });
    writeFileSync(join(seed, 'one.txt'), 'one');
    writeFileSync(join(seed, 'sub/deep/run'), '#!/bin/sh\n');
    chmodSync(join(seed, 'sub/deep/run'), 0o755);
    symlinkSync('../one.txt', join(seed, 'sub/link'));
    symlinkSync('/etc', join(seed, 'away'));
    writeFileSync(join(seed, '.dockerignore'), '**');
  });
  server.git('tag', '-a', 'v1', '-m', 'first');
  server.git('branch', 'old');
  second = server.commit((seed) => writeFileSync(join(seed, 'two.txt'), 'two'));
});
afterAll(async () => {
  await files?.close();
  await fetcher?.close();
  await server?.close();
  lab?.close();
  rmSync(root, { recursive: true, force: true });
});
beforeEach(() => {
  count += 1;
  directory = join(root, `fetched-${count}`);
  mkdirSync(directory);
});

function add(text: string): TransferInstruction {
  return { ...lab.request('ADD x /x').instruction, sources: [text] };
}

interface Asked {
  checksum?: string;
  keepGitDir?: boolean;
  maxBytes?: number;
  signal?: AbortSignal;
  by?: RemoteFetcher;
}

async function fetchOne(text: string, asked: Asked = {}): Promise<Fetched> {
  const [source] = remoteSources(add(text), asked.checksum, asked.keepGitDir);
  if (source === undefined) throw new Error(`${text} is not fetched`);
  const { checksum, maxBytes = 1 << 26, signal = new AbortController().signal, by = fetcher } = asked;
  return await by.fetch(source, { directory, checksum, maxBytes, signal });
}

const url = (rest = '') => `${server.url}/open/repo.git${rest}`;
const names = ({ directory: at, name }: Fetched) => readdirSync(join(at, name)).sort();
const commitOf = (fetched: Fetched) => ('identity' in fetched ? JSON.parse(fetched.identity)[1] : undefined);

describe('a repository of ADD', () => {
  test.each([
    ['', () => second],
    ['#main', () => second],
    ['#old', () => first],
    ['#v1', () => first],
    ['#refs/heads/old', () => first],
    ['?branch=old', () => first],
    ['?tag=v1', () => first],
    ['?ref=heads/old', () => first],
  ])('is taken at what "%s" means', async (ref, commit) => {
    const fetched = await fetchOne(url(ref));
    expect(commitOf(fetched)).toBe(commit());
    expect(names(fetched)).toEqual(
      commit() === second
        ? ['.dockerignore', 'away', 'one.txt', 'sub', 'two.txt']
        : ['.dockerignore', 'away', 'one.txt', 'sub'],
    );
    expect(readdirSync(directory).sort()).toEqual(['work']);
    expect(readdirSync(join(directory, 'work'))).toEqual(['tree']);
  });

  test('is taken at a commit, and told ahead of the fetch', async () => {
    expect(commitOf(await fetchOne(url(`#${first}`)))).toBe(first);
    const [source] = remoteSources(add(url('#v1')), undefined);
    if (source === undefined) throw new Error('no source');
    const known = await fetcher.identify(source, new AbortController().signal);
    expect(known?.pinned).toMatchObject({ ref: first });
    rmSync(directory, { recursive: true });
    mkdirSync(directory);
    expect(known?.fetched).toMatchObject({ identity: expect.stringContaining(first) });
    const fetched = await fetchOne(url('#v1'));
    expect(known?.fetched).toMatchObject({ identity: 'identity' in fetched ? fetched.identity : '' });
  });

  test('becomes files of root with the modes of git, whatever .dockerignore says', async () => {
    const fetched = new Map([[0, await fetchOne(url('#v1'))]]);
    const { merged } = await lab.run(`ADD ${url('#v1')} /repo`, { fetched, context: { ignore: '**' } });
    const tree = describeTree(join(merged, 'repo'), { idBase: ID_BASE });
    expect(tree).toMatchObject({
      '': { mode: '755', uid: 0, gid: 0 },
      '/one.txt': { mode: '644', uid: 0, gid: 0, mtimeNs: 1_500_000_000_000_000_000n },
      '/sub/deep/run': { mode: '755', uid: 0 },
      '/sub/link': { type: 'symlink', content: '../one.txt', uid: 0 },
      '/away': { type: 'symlink', content: '/etc' },
    });
    const owned = await lab.run(`ADD --chown=5:6 --chmod=600 --exclude=sub ${url('#v1')} /repo/`, { fetched });
    const second = describeTree(join(owned.merged, 'repo'), { idBase: ID_BASE });
    expect(second['/one.txt']).toMatchObject({ mode: '600', uid: 5, gid: 6 });
    expect(second['/sub']).toBeUndefined();
  });

  test('of a server that speaks the older protocol is the same', async () => {
    const older = createServer((request, response) => {
      const { 'git-protocol': _, host: __, ...headers } = request.headers;
      const asked = httpRequest(
        `${server.url}${request.url}`,
        { method: request.method ?? 'GET', headers },
        (answer) => {
          response.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(response);
        },
      );
      request.pipe(asked);
    });
    await new Promise<void>((resolve) => older.listen(0, '127.0.0.1', resolve));
    const address: AddressInfo | string | null = older.address();
    const base = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/open/repo.git`;
    try {
      for (const [ref, commit] of [
        ['', second],
        ['#v1', first],
        ['#old', first],
      ] as const) {
        expect(commitOf(await fetchOne(`${base}${ref}`))).toBe(commit);
        rmSync(directory, { recursive: true });
        mkdirSync(directory);
      }
    } finally {
      older.closeAllConnections();
      await new Promise((resolve) => older.close(resolve));
    }
  });

  test('of a directory in it has that alone', async () => {
    expect(names(await fetchOne(url('#v1:sub')))).toEqual(['deep', 'link']);
    rmSync(directory, { recursive: true });
    mkdirSync(directory);
    expect(names(await fetchOne(url('?subdir=sub/deep')))).toEqual(['run']);
    for (const bad of ['#:nothing', '#:one.txt', '#:away']) {
      rmSync(directory, { recursive: true });
      mkdirSync(directory);
      await expect(fetchOne(url(bad))).rejects.toMatchObject({ code: 'invalid_request' });
      expect(readdirSync(directory)).toEqual([]);
    }
  });

  test('keeps its .git where that is asked for', async () => {
    const fetched = await fetchOne(url(), { keepGitDir: true });
    const tree = join(fetched.directory, fetched.name);
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'safe.directory=*', ...args], { cwd: tree, encoding: 'utf8' }).trim();
    expect(git('rev-parse', 'HEAD')).toBe(second);
    expect(git('status', '--porcelain')).toBe('');
    expect(git('log', '--format=%H')).toBe(second);
    expect(git('config', 'remote.origin.url')).toBe(url());
  });

  test('has the commit that is asked for', async () => {
    await fetchOne(url('#v1'), { checksum: first.slice(0, 10) });
    rmSync(directory, { recursive: true });
    mkdirSync(directory);
    await expect(fetchOne(url('#main'), { checksum: first })).rejects.toThrow(`${first} was asked for`);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('changes the digest with its commit only', async () => {
    const digest = async (fetched: Fetched) =>
      await files.digest(
        { ...lab.request('ADD x /x'), instruction: add(url()), fetched: new Map([[0, fetched]]) },
        new AbortController().signal,
      );
    const known = { directory: '/nowhere', name: 'x', identity: 'a' };
    expect(await digest(known)).toBe(await digest({ ...known, directory: '/elsewhere' }));
    expect(await digest(known)).not.toBe(await digest({ ...known, identity: 'b' }));
  });

  test('brings its submodules', async () => {
    server.git('checkout', '-q', '-b', 'with-module');
    server.git('submodule', '--quiet', 'add', url(), 'inner/module');
    server.git('config', '-f', '.gitmodules', 'submodule.inner/module.url', '../repo.git');
    server.commit(() => {}, 'a module');
    try {
      const fetched = await fetchOne(url('#with-module'));
      expect(readFileSync(join(fetched.directory, fetched.name, 'inner/module/two.txt'), 'utf8')).toBe('two');
      rmSync(directory, { recursive: true });
      mkdirSync(directory);
      const without = await fetchOne(url('?branch=with-module&submodules=false'));
      expect(readdirSync(join(without.directory, without.name, 'inner/module'))).toEqual([]);
      server.git('config', '-f', '.gitmodules', 'submodule.inner/module.url', 'git@example.com:a/b');
      server.commit(() => {}, 'a module by ssh');
      rmSync(directory, { recursive: true });
      mkdirSync(directory);
      await expect(fetchOne(url('#with-module'))).rejects.toThrow('its submodule "inner/module" is at');
    } finally {
      server.git('checkout', '-q', '-f', 'main');
    }
  });
});

describe('what cannot be fetched', () => {
  test('is told clearly, and leaves nothing', async () => {
    const failures = [
      [url('#nothing'), /has no branch or tag nothing/, 'invalid_request'],
      [url(`#${'1'.repeat(40)}`), /its server says: .*not our ref/, 'invalid_request'],
      [`${server.url}/open/none.git`, /404/, 'invalid_request'],
      [`${server.url}/closed/repo.git`, /401/, 'invalid_request'],
      [`${server.url.replace('//', '//user:wrong-secret@')}/closed/repo.git`, /401/, 'invalid_request'],
      ['http://127.0.0.1:1/a.git', /ECONNREFUSED/, 'unavailable'],
    ] as const;
    for (const [text, message, code] of failures) {
      const error: unknown = await fetchOne(text).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
      expect(String(error)).not.toContain('secret');
      expect(readdirSync(directory)).toEqual([]);
    }
  });

  test('credentials are for their host only', async () => {
    server.publish('closed/repo.git');
    const own = `${server.url.replace('//', '//user:secret@')}/closed/repo.git#main`;
    expect(names(await fetchOne(own))).toContain('two.txt');
    rmSync(directory, { recursive: true });
    mkdirSync(directory);
    const led = `${server.url.replace('//', '//user:secret@')}/led/repo.git#main`;
    await expect(fetchOne(led)).rejects.toThrow('401');
  });

  test('no more than is allowed', async () => {
    await expect(fetchOne(url(), { maxBytes: 20 })).rejects.toMatchObject({
      code: expect.stringMatching(/quota|invalid/),
    });
    expect(readdirSync(directory)).toEqual([]);
    // A pack of next to nothing with large files.
    server.commit((seed) => writeFileSync(join(seed, 'zeros'), Buffer.alloc(8 << 20)));
    try {
      await expect(fetchOne(url(), { maxBytes: 1 << 20 })).rejects.toMatchObject({ code: 'quota_exceeded' });
      expect(readdirSync(directory)).toEqual([]);
    } finally {
      server.git('reset', '-q', '--hard', 'HEAD^');
      server.publish('open/repo.git');
    }
  });

  test('an abort ends it with its reason', async () => {
    const controller = new AbortController();
    const reason = new Error('cancelled');
    const running = fetchOne(url(), { signal: controller.signal });
    setImmediate(() => controller.abort(reason));
    await expect(running).rejects.toBe(reason);
    expect(readdirSync(directory)).toEqual([]);
  });

  test('addresses of the server’s own network are refused', async () => {
    const careful = createRemoteFetcher({ idBase: ID_BASE, allowInternal: false, caFiles: [] });
    try {
      for (const text of [url(), 'http://169.254.169.254/a.git', 'http://[::ffff:10.0.0.1]/a.git']) {
        await expect(fetchOne(text, { by: careful })).rejects.toThrow('builds do not fetch from this address');
      }
    } finally {
      await careful.close();
    }
  });

  test('nothing outside of the tree is written by a hostile repository', async () => {
    // Names that git itself would not make.
    const blob = execFileSync('git', ['hash-object', '-w', '--stdin'], { cwd: server.seed, input: 'owned' })
      .toString()
      .trim();
    const tree = (entries: string) =>
      execFileSync('git', ['mktree', '-z'], { cwd: server.seed, input: entries }).toString().trim();
    const hostile = [
      (inner: string) => tree(`040000 tree ${inner}\t.git\0`),
      () => tree(`100644 blob ${blob}\t..\0`),
      (inner: string) => tree(`040000 tree ${inner}\t..\0`),
    ];
    const inner = tree(`100644 blob ${blob}\tconfig\0`);
    for (const make of hostile) {
      const commit = server.git('commit-tree', '-m', 'hostile', make(inner));
      server.git('update-ref', 'refs/heads/hostile', commit);
      server.publish('open/hostile.git');
      await expect(fetchOne(`${server.url}/open/hostile.git#hostile`)).rejects.toMatchObject({
        code: 'invalid_request',
      });
      expect(readdirSync(directory)).toEqual([]);
    }
    server.git('update-ref', '-d', 'refs/heads/hostile');
    expect(lstatSync(root).isDirectory()).toBe(true);
  });
});
