import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { run } from '../../../platform/process.ts';
import { type GitServer, gitLayer, startGitServer } from '../../../test-support/git-lab.ts';
import { busybox } from '../../../test-support/layers.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';
import { TEST_ID_BASE } from '../../../test-support/test-runtime.ts';

const LOGIN = { username: 'canary-user', password: 'canary-p4ss/w%rd' };

const image = JSON.stringify({ env: [], user: 'app', workingDir: '/home/app' });
const lab = setUpServer({ layer: gitLayer, values: { image } });
const { client, snapshot } = lab;
let id: string;
let served: GitServer;
let withoutGit: string;

beforeAll(async () => {
  id = (await client.post('/api/sandbox', { snapshot })).body.id;
  const plain = await lab.server.addSnapshot(lab.organizationId, busybox);
  withoutGit = (await client.post('/api/sandbox', { snapshot: plain })).body.id;
  served = await startGitServer(client, id, LOGIN);
});

const post = (path: string, body: object) => client.post(`/toolbox/${id}/git/${path}`, body);
const get = (path: string, query: Record<string, string>) =>
  client.get(`/toolbox/${id}/git/${path}?${new URLSearchParams(query)}`);
const execute = async (command: string): Promise<string> =>
  (await client.post(`/toolbox/${id}/process/execute`, { command })).body.result;
const allow = () => execute(`touch ${served.go}`);

test('a repository is cloned at a branch, at a commit, and to a depth', async () => {
  expect(await post('clone', { url: served.openUrl, path: 'main' })).toEqual({ status: 200, body: undefined });
  expect((await post('clone', { url: served.openUrl, path: 'branch', branch: 'other' })).status).toBe(200);
  expect(await execute('cat main/two.txt; ls branch')).toBe('two\none.txt\n');
  const history = (await get('history', { path: 'main' })).body;
  expect(history).toEqual([
    expect.objectContaining({ author: 'a', email: 'a@b', message: 'second\n' }),
    expect.objectContaining({ message: 'first\n', timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT/) }),
  ]);
  const first = history[1].hash;
  expect((await post('clone', { url: served.openUrl, path: 'commit', commit_id: first })).status).toBe(200);
  expect((await get('status', { path: 'commit' })).body).toMatchObject({ currentBranch: 'HEAD', detached: true });
  expect((await post('clone', { url: served.openUrl, path: 'shallow', depth: 1 })).status).toBe(200);
  expect((await get('history', { path: 'shallow' })).body).toHaveLength(1);
  const deep = { url: served.openUrl, path: 'shallow-commit', depth: 1, commit_id: first };
  expect((await post('clone', deep)).status).toBe(200);
  expect(await execute('ls shallow-commit')).toBe('one.txt\n');
});

test('a clone that fails leaves nothing, and keeps what was there', async () => {
  const gone = await post('clone', { url: served.openUrl, path: 'failed', commit_id: 'f'.repeat(40) });
  expect(gone).toMatchObject({ status: 400, body: { message: expect.stringContaining('git') } });
  expect(await execute('ls -d failed 2>&1')).toContain('No such file');
  await execute('mkdir kept; echo mine > kept/file');
  expect((await post('clone', { url: served.openUrl, path: 'kept' })).status).toBe(400);
  expect(await execute('cat kept/file')).toBe('mine\n');
});

test('status tells staged, changed, renamed and unknown files, and how far the branch is', async () => {
  await post('clone', { url: served.openUrl, path: 'work' });
  await execute(
    `cd work; git mv one.txt eins.txt; echo more >> two.txt; mkdir -p d; echo x > 'd/new ü.txt'; echo y > added; git add added`,
  );
  const { body } = await get('status', { path: 'work' });
  expect(body).toMatchObject({
    currentBranch: 'main',
    detached: false,
    upstream: 'origin/main',
    branchPublished: true,
    ahead: 0,
    behind: 0,
  });
  const bySize = [...body.fileStatus].sort((a, b) => a.name.localeCompare(b.name));
  expect(bySize).toEqual([
    { name: 'added', extra: '', staging: 'Added', worktree: 'Unmodified' },
    { name: 'd/new ü.txt', extra: '', staging: 'Untracked', worktree: 'Untracked' },
    { name: 'eins.txt', extra: 'one.txt', staging: 'Renamed', worktree: 'Unmodified' },
    { name: 'two.txt', extra: '', staging: 'Unmodified', worktree: 'Modified' },
  ]);
});

test('what is added is committed in the name that the client gives', async () => {
  await post('init', { path: 'mine', initial_branch: 'trunk' });
  expect((await get('history', { path: 'mine' })).body).toEqual([]);
  expect((await get('branches', { path: 'mine' })).body).toEqual({ branches: [], current: 'trunk' });
  await execute('echo a > mine/a; echo b > mine/b');
  const commit = { path: 'mine', message: '-m "x"\n\nbody', author: 'Ü <x', email: 'me@example.com' };
  expect((await post('commit', commit)).status).toBe(400);
  expect((await post('add', { path: 'mine', files: ['.'] })).status).toBe(200);
  const { status, body } = await post('commit', commit);
  expect(status).toBe(200);
  const [made] = (await get('history', { path: 'mine' })).body;
  expect(made).toMatchObject({ hash: body.hash, author: 'Ü x', email: 'me@example.com', message: '-m "x"\n\nbody\n' });
  expect(await post('commit', commit)).toMatchObject({
    status: 400,
    body: { message: expect.stringContaining('nothing to commit') },
  });
  expect((await post('commit', { ...commit, allow_empty: true })).status).toBe(200);
});

test('branches are made, checked out and deleted', async () => {
  await post('clone', { url: served.openUrl, path: 'branches' });
  expect((await post('branches', { path: 'branches', name: 'new' })).status).toBe(201);
  expect((await get('branches', { path: 'branches' })).body).toEqual({ branches: ['main', 'new'], current: 'main' });
  expect((await post('checkout', { path: 'branches', branch: 'new' })).status).toBe(200);
  expect((await post('checkout', { path: 'branches', branch: 'other' })).status).toBe(200);
  expect((await get('branches', { path: 'branches' })).body.current).toBe('other');
  const json = {
    body: JSON.stringify({ path: 'branches', name: 'new' }),
    headers: { 'content-type': 'application/json' },
  };
  expect((await client.send('DELETE', `/toolbox/${id}/git/branches`, json)).status).toBe(204);
  expect((await client.send('DELETE', `/toolbox/${id}/git/branches`, json)).status).toBe(400);
  expect((await get('branches', { path: 'branches' })).body.branches).toEqual(['main', 'other']);
});

test('changes are taken back', async () => {
  await post('clone', { url: served.openUrl, path: 'back' });
  const files = async () => (await get('status', { path: 'back' })).body.fileStatus;
  await execute('echo x >> back/one.txt; echo x >> back/two.txt');
  await post('add', { path: 'back', files: ['one.txt', 'two.txt'] });
  expect((await post('restore', { path: 'back', files: ['one.txt'], staged: true })).status).toBe(200);
  expect(await files()).toMatchObject([{ worktree: 'Modified' }, { staging: 'Modified' }]);
  expect((await post('reset', { path: 'back', files: ['two.txt'] })).status).toBe(200);
  expect(await files()).toMatchObject([{ staging: 'Unmodified' }, { staging: 'Unmodified' }]);
  expect((await post('restore', { path: 'back', files: ['one.txt'] })).status).toBe(200);
  expect((await post('reset', { path: 'back', mode: 'hard', target: 'HEAD~1' })).status).toBe(200);
  expect(await get('status', { path: 'back' })).toMatchObject({ body: { fileStatus: [], behind: 1 } });
  expect((await post('reset', { path: 'back', mode: '--hard' })).status).toBe(400);
});

test('a password clones, pushes and pulls, and is in no process, no file and no answer', async () => {
  const wrong = await post('clone', { url: served.closedUrl, path: 'closed', ...LOGIN, password: 'wr0ng-canary' });
  expect(wrong.status).toBe(400);
  expect(JSON.stringify(wrong.body)).not.toContain('wr0ng-canary');

  const cloning = post('clone', { url: served.closedUrl.replace('//', '//x:y@'), path: 'closed', ...LOGIN });
  await expect.poll(() => execute(`cat ${served.go}.looked 2>&1`), { timeout: 20_000 }).toContain('[]');
  expect(await processesWith(LOGIN.password)).toEqual([]);
  await allow();
  expect(await cloning).toEqual({ status: 200, body: undefined });

  await execute('echo three > closed/three.txt');
  await post('add', { path: 'closed', files: ['three.txt'] });
  await post('commit', { path: 'closed', message: 'third', author: 'a', email: 'a@b' });
  expect((await get('status', { path: 'closed' })).body.ahead).toBe(1);
  expect((await post('push', { path: 'closed' })).status).toBe(400);
  expect((await post('push', { path: 'closed', ...LOGIN })).status).toBe(200);
  expect((await get('status', { path: 'closed' })).body.ahead).toBe(0);
  await post('branches', { path: 'closed', name: 'feature' });
  const feature = { path: 'closed', branch: 'feature', remote: 'origin', set_upstream: true, ...LOGIN };
  expect((await post('push', feature)).status).toBe(200);

  expect((await post('clone', { url: served.closedUrl, path: 'second', ...LOGIN, branch: 'other' })).status).toBe(200);
  expect((await post('pull', { path: 'second', branch: 'main', ...LOGIN })).status).toBe(200);
  expect((await post('pull', { path: 'second', ...LOGIN })).status).toBe(200);
  expect(await execute('cat second/three.txt')).toBe('three\n');

  const looks = (await execute(`cat ${served.go}.looked`)).trim().split('\n');
  expect(new Set(looks)).toEqual(new Set(['[]']));
  expect(
    await execute('cat closed/.git/config second/.git/config; find closed/.git/logs -type f | xargs cat'),
  ).not.toMatch(/canary|x:y/);
  expect(await filesWith(LOGIN.password)).toBe('');
});

test('a password for one host is not given to another that it leads to', async () => {
  await allow();
  const asked = await execute(`wc -l < ${served.go}.looked`);
  const led = await post('clone', { url: served.leadingUrl, path: 'led', ...LOGIN });
  expect(led).toMatchObject({ status: 400, body: { message: expect.stringContaining('localhost') } });
  expect(await execute(`wc -l < ${served.go}.looked`)).toBe(asked);
});

test('options and other transports in place of names are refused', async () => {
  const touch = 'touch /tmp/owned';
  const tries = [
    post('clone', { url: `--upload-pack=${touch}`, path: 'evil' }),
    post('clone', { url: `ext::sh -c ${touch}`, path: 'evil' }),
    post('clone', { url: served.openUrl, path: 'evil', branch: `--upload-pack=${touch}` }),
    post('clone', { url: served.openUrl, path: 'evil', commit_id: '--orphan=x' }),
    post('checkout', { path: 'main', branch: '--orphan=x' }),
    post('branches', { path: 'main', name: '-D' }),
    post('pull', { path: 'main', remote: `--upload-pack=${touch}` }),
    post('push', { path: 'main', branch: 'main:other' }),
    post('reset', { path: 'main', target: '--pathspec-from-file=/etc/passwd' }),
    post('remotes', { path: 'main', name: 'evil', url: `ext::sh -c ${touch}` }),
    post('remotes', { path: 'main', name: 'evil', url: 'https://me:secret@host/a' }),
    get('config', { key: '--list' }),
    post('add', { path: 'main', files: [] }),
    post('clone', { url: served.openUrl, path: 'evil', username: 'a\nb', password: 'c' }),
  ];
  for (const answer of await Promise.all(tries)) expect(answer).toMatchObject({ status: 400 });
  await execute(`git -C main remote add set-by-hand 'ext::sh -c "${touch}"'`);
  expect((await post('pull', { path: 'main', remote: 'set-by-hand', branch: 'main' })).status).toBe(400);
  expect(await execute('ls /tmp/owned 2>&1')).toContain('No such file');
});

test('remotes and settings are read and written', async () => {
  await post('init', { path: 'settings' });
  const remote = { path: 'settings', name: 'up', url: served.openUrl };
  expect((await post('remotes', { ...remote, fetch: true })).status).toBe(201);
  expect((await post('remotes', remote)).status).toBe(409);
  expect((await post('remotes', { ...remote, url: '/tmp/else', overwrite: true })).status).toBe(201);
  expect((await get('remotes', { path: 'settings' })).body).toEqual({ remotes: [{ name: 'up', url: '/tmp/else' }] });
  expect((await get('config', { key: 'user.name', scope: 'global' })).body).toEqual({ value: null });
  expect((await post('config/user', { name: 'Me', email: 'me@example.com' })).status).toBe(200);
  expect((await get('config', { key: 'user.name' })).body).toEqual({ value: 'Me' });
  expect((await post('config', { key: 'a.b', value: '--x', scope: 'local', path: 'settings' })).status).toBe(200);
  expect((await get('config', { key: 'a.b', scope: 'local', path: 'settings' })).body).toEqual({ value: '--x' });
  expect((await post('config', { key: 'a.b', value: 'x', scope: 'local' })).status).toBe(400);
  expect((await post('config', { key: 'a.b', value: 'x', scope: 'worktree' })).status).toBe(400);
});

test('stored credentials are used by later calls', async () => {
  await allow();
  expect((await post('credentials', { ...LOGIN, host: '127.0.0.1:8418', protocol: 'http' })).status).toBe(200);
  expect((await post('clone', { url: served.closedUrl, path: 'stored' })).status).toBe(200);
  expect(await execute('stat -c %a .git-credentials')).toBe('600\n');
});

test('what root put there can be worked with; what another user owns cannot', async () => {
  expect((await post('clone', { url: served.openUrl, path: '/tmp/rooted' })).status).toBe(200);
  const pid = await mainPid();
  await run('chown', ['-R', `${TEST_ID_BASE}:${TEST_ID_BASE}`, `/proc/${pid}/root/tmp/rooted`], { timeoutMs: 10_000 });
  expect((await get('status', { path: '/tmp/rooted' })).status).toBe(200);
  const other = `${TEST_ID_BASE + 5}`;
  await run('chown', ['-R', `${other}:${other}`, `/proc/${pid}/root/tmp/rooted`], { timeoutMs: 10_000 });
  expect(await get('status', { path: '/tmp/rooted' })).toMatchObject({
    status: 400,
    body: { message: expect.stringContaining('dubious ownership') },
  });
});

test('an image without git and a path without a repository get a clear answer', async () => {
  const missing = await client.post(`/toolbox/${withoutGit}/git/init`, { path: 'x' });
  expect(missing).toMatchObject({
    status: 400,
    body: { message: expect.stringContaining('git is not installed in this sandbox') },
  });
  expect(await get('status', { path: '/tmp' })).toMatchObject({
    status: 400,
    body: { message: expect.stringContaining('not a git repository') },
  });
  expect((await get('status', { path: '/no/where' })).status).toBe(400);
  expect((await get('history', { path: '/tmp' })).status).toBe(400);
  expect((await get('status', {})).status).toBe(400);
});

test('a client that goes away ends its git', async () => {
  await execute(`rm -f ${served.go} ${served.go}.looked`);
  const controller = new AbortController();
  const request = fetch(`${lab.server.url}/toolbox/${id}/git/clone`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await keyOf()}`, 'content-type': 'application/json' },
    body: JSON.stringify({ url: served.closedUrl, path: 'left', ...LOGIN }),
    signal: controller.signal,
  });
  await expect.poll(() => execute(`cat ${served.go}.looked 2>&1`), { timeout: 20_000 }).toContain('[]');
  controller.abort();
  await request.catch(() => {});
  await expect
    .poll(() => execute('pidof git-remote-http; ls -d left 2>&1'), { timeout: 20_000 })
    .toMatch(/^ls: left: No such file/);
  await allow();
});

async function keyOf(): Promise<string> {
  const row = await lab.server.db
    .selectFrom('sandboxes')
    .select('organization_id')
    .where('id', '=', id)
    .executeTakeFirstOrThrow();
  return lab.server.addKey(row.organization_id);
}

async function mainPid(): Promise<number> {
  const found = (await lab.server.runtime.list()).find((container) => container.id === id);
  if (found?.pid === undefined) throw new Error('the sandbox does not run');
  return found.pid;
}

/** Of the whole machine. */
async function processesWith(secret: string): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    for (const part of ['cmdline', 'environ']) {
      const content = await readFile(join('/proc', pid, part)).catch(() => Buffer.alloc(0));
      if (content.includes(secret)) found.push(`${pid}/${part}`);
    }
  }
  return found;
}

/** In the sandbox's own root, as the kernel shows it to the sandbox. */
async function filesWith(secret: string): Promise<string> {
  const root = `/proc/${await mainPid()}/root`;
  const places = ['home', 'tmp', 'etc', 'root', 'var', 'usr/bin'].map((name) => join(root, name));
  const { stdout } = await run('grep', ['-rlF', '--', secret, ...places], { timeoutMs: 60_000, okCodes: [0, 1] });
  return stdout;
}
