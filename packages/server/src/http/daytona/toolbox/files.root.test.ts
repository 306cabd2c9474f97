import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { busybox, empty } from '../../../test-support/layers.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

const image = JSON.stringify({ env: [], user: 'app', workingDir: '/home/app' });
const lab = setUpServer({ layer: busybox, values: { image } });
const { client, snapshot } = lab;
let id: string;
let emptyId: string;

beforeAll(async () => {
  const create = async (snapshot: string) => (await client.post('/api/sandbox', { snapshot })).body.id;
  id = await create(snapshot);
  emptyId = await create(await lab.server.addSnapshot(lab.organizationId, empty));
});

const at = (route: string, query: Record<string, string> = {}, sandbox = id) =>
  `/toolbox/${sandbox}/files${route}?${new URLSearchParams(query)}`;
const sh = async (command: string) =>
  (await client.post(`/toolbox/${id}/process/execute`, { command })).body.result as string;
const put = async (path: string, content: string, sandbox = id) => {
  const form = new FormData();
  form.append('file', new Blob([content]), 'file');
  const { status } = await client.send('POST', at('/upload', { path }, sandbox), { body: form });
  expect(status).toBe(200);
};
const get = async (path: string, sandbox = id) => {
  const response = await client.send('GET', at('/download', { path }, sandbox));
  return response.text();
};

describe('list and info', () => {
  test('tell name, kind, size, owner, group, mode and time of each entry, by name', async () => {
    await sh(
      'mkdir -p look/sub; cd look; printf 12345 > b; chmod 640 b; touch -d @1700000000 b; ln -s /nowhere a; chmod 1777 sub',
    );
    const { body } = await client.get(at('', { path: 'look' }));
    expect(body).toMatchObject([
      { name: 'a', mode: 'Lrwxrwxrwx', isDir: false, path: '/home/app/look/a' },
      {
        name: 'b',
        path: '/home/app/look/b',
        size: 5,
        mode: '-rw-r-----',
        permissions: '0640',
        isDir: false,
        owner: 'app',
        group: 'app',
        modTime: '2023-11-14T22:13:20.000Z',
        modifiedAt: '2023-11-14T22:13:20.000Z',
      },
      { name: 'sub', mode: 'dtrwxrwxrwx', permissions: '0777', isDir: true },
    ]);
    expect((await client.get(at('/info', { path: 'look/b' }))).body).toEqual(body[1]);
    expect((await client.get(at('/info', { path: '/' }))).body).toMatchObject({
      name: '/',
      owner: 'root',
      isDir: true,
    });
  });

  test('begin at the work dir, know the home, and go as deep as told', async () => {
    await sh('mkdir -p deep/a/b; echo > deep/a/b/c');
    const paths = async (query: Record<string, string>, route = '') =>
      (await client.get(at(route, query))).body.map(({ path }: { path: string }) => path);
    const home = await paths({});
    expect(home).toContain('/home/app/deep');
    expect(await paths({ path: '~' }, '/')).toEqual(home);
    expect(await paths({ path: '../app/./' })).toEqual(
      home.map((path: string) => path.replace('/home/app', '/home/app/../app/.')),
    );
    expect(await paths({ path: 'deep', depth: '2' })).toEqual(['/home/app/deep/a', '/home/app/deep/a/b']);
    expect(await paths({ path: 'deep', depth: '9' })).toHaveLength(3);
    expect((await client.get(at('', { depth: '0' }))).status).toBe(400);
  });

  test('give many thousands of entries, and names of all kinds', async () => {
    await sh(
      `mkdir many; cd many; seq 12000 | xargs touch; touch "$(printf 'x\\377y')" "$(printf 'new\\nline')" 'quo"te'`,
    );
    const { body } = await client.get(at('', { path: 'many' }));
    const names = new Set<string>(body.map(({ name }: { name: string }) => name));
    expect(names.size).toBe(12_003);
    for (const name of ['1', '12000', 'x\ufffdy', 'new\nline', 'quo"te']) expect(names, name).toContain(name);
    await sh('mkdir none');
    expect((await client.get(at('', { path: 'none' }))).body).toEqual([]);
  });

  test('say what is not there as clients read it', async () => {
    expect(await client.get(at('/info', { path: '/nowhere' }))).toMatchObject({
      status: 404,
      body: { statusCode: 404, code: 'FILE_NOT_FOUND', source: 'DAYTONA_DAEMON', message: '/nowhere does not exist' },
    });
    expect(await client.get(at('', { path: 'nowhere' }))).toMatchObject({
      status: 404,
      body: { code: 'FILE_NOT_FOUND' },
    });
    expect((await client.get(at('', { path: '/etc/passwd' }))).status).toBe(400);
    expect((await client.get(at('/info', { path: '' }))).status).toBe(400);
    expect((await client.get(at('/info', { path: 'a\0b' }))).status).toBe(400);
    expect(await client.get(at('/info', { path: '/' }, 'no-such-sandbox'))).toMatchObject({
      status: 404,
      body: { code: 'NOT_FOUND' },
    });
  });
});

describe('folders', () => {
  test('are made with parents and mode for the user, and are there already', async () => {
    expect((await client.post(at('/folder', { path: 'new/a/b', mode: '750' }))).status).toBe(201);
    expect((await client.post(at('/folder', { path: 'new/a/b', mode: '0700' }))).status).toBe(201);
    expect((await client.post(at('/folder', { path: '/dev/shm/new/c' }))).status).toBe(201);
    expect(await sh('stat -c "%n %U %a" new/a new/a/b /dev/shm/new/c')).toBe(
      'new/a app 755\nnew/a/b app 750\n/dev/shm/new/c app 755\n',
    );
    for (const mode of ['8', '77777', 'rwx', '-1']) {
      expect((await client.post(at('/folder', { path: 'new/x', mode }))).status, mode).toBe(400);
    }
    expect((await client.post(at('/folder', { path: '/etc/passwd/x' }))).status).toBe(400);
    expect((await client.post(at('/folder', { path: '/proc/x' }))).status).toBe(403);
  });
});

describe('deleting', () => {
  test('takes a file or a link, and a directory only recursively', async () => {
    await sh(
      'mkdir -p del/dir del/kept; echo > del/kept/file; echo > del/dir/file; ln -s ../kept del/dir/link; ln -s kept del/link',
    );
    const remove = async (path: string, recursive?: string) =>
      (await client.delete(at('', { path, ...(recursive && { recursive }) }))).status;
    expect(await remove('del/dir')).toBe(400);
    expect(await remove('del/dir', 'false')).toBe(400);
    expect(await remove('del/dir', 'true')).toBe(204);
    expect(await remove('del/link')).toBe(204);
    expect(await remove('del/dir')).toBe(404);
    expect(await sh('ls -R del')).toBe('del:\nkept\n\ndel/kept:\nfile\n');
    expect(await remove('/', 'true')).toBe(400);
    expect(await remove('/proc', 'true')).toBe(409);
  });

  test('takes 20,000 entries', async () => {
    await sh('mkdir broad; cd broad; seq 200 | xargs mkdir; for d in *; do (cd $d; seq 100 | xargs touch); done');
    expect((await client.delete(at('', { path: 'broad', recursive: 'true' }))).status).toBe(204);
    expect(await sh('test -e broad || echo gone')).toBe('gone\n');
  });
});

describe('moving', () => {
  const move = async (source: string, destination: string) => {
    const { status, body } = await client.post(at('/move', { source, destination }));
    return status === 200 ? status : [status, body.message];
  };

  test('renames, replaces a file, and goes into a directory', async () => {
    await sh('mkdir -p mv/dir; cd mv; echo 1 > one; echo 2 > two; echo 3 > dir/three');
    expect(await move('mv/one', 'mv/two')).toBe(200);
    expect(await move('mv/two', 'mv/dir/')).toBe(200);
    expect(await move('mv/dir', 'mv/other')).toBe(200);
    expect(await sh('cd mv; ls; cat other/two other/three')).toBe('other\n1\n3\n');
    expect(await move('mv/other', '/dev/shm')).toBe(200);
    expect(await sh('ls mv; cat /dev/shm/other/two')).toBe('1\n');
    expect(await move('/dev/shm/other', 'mv/back')).toBe(200);
    expect(await sh('ls mv/back; stat -c %U mv/back/two')).toBe('three\ntwo\napp\n');
    expect(await move('mv/none', 'mv/x')).toMatchObject([404, expect.stringContaining('does not exist')]);
    expect(await move('mv/back', 'mv/back')).toMatchObject([400, expect.any(String)]);
    expect(await move('mv/back', 'nowhere/x')).toMatchObject([404, expect.any(String)]);
  });
});

describe('permissions', () => {
  const change = async (query: Record<string, string>) => (await client.post(at('/permissions', query))).status;

  test('set owner and group by name or number, and mode', async () => {
    await sh('mkdir perm; echo > perm/file');
    expect(await change({ path: 'perm/file', owner: 'root', group: 'root', mode: '0600' })).toBe(200);
    expect(await sh('stat -c "%U %G %a" perm/file')).toBe('root root 600\n');
    expect(await change({ path: 'perm/file', owner: '1234', mode: '' })).toBe(200);
    expect(await change({ path: 'perm/file', mode: '4711' })).toBe(200);
    expect(await sh('stat -c "%u %G %a" perm/file')).toBe('1234 root 4711\n');
    expect(await change({ path: 'perm/file', owner: 'nobody-here' })).toBe(400);
    expect(await change({ path: 'perm/file', mode: '999' })).toBe(400);
    expect(await change({ path: 'perm/none', mode: '600' })).toBe(404);
    expect(await change({ path: '/dev/null', mode: '600' })).toBe(400);
    expect(await change({ path: '/.darkroom/init', mode: '777' })).toBe(403);
  });
});

describe('search', () => {
  const search = async (path: string, pattern: string) => {
    const { status, body } = await client.get(at('/search', { path, pattern }));
    return status === 200 ? body.files.sort() : status;
  };

  test('finds files and directories by name, without following links', async () => {
    await sh(
      'mkdir -p find/src/lib.ts find/doc; cd find; touch src/a.ts src/b.js doc/c.ts; ln -s . loop.ts; ln -s / root',
    );
    const below = (...paths: string[]) => paths.map((path) => `/home/app/find/${path}`);
    expect(await search('find', '*.ts')).toEqual(below('doc/c.ts', 'loop.ts', 'src/a.ts', 'src/lib.ts'));
    expect(await search('find', 'src/*.ts')).toEqual(below('src/a.ts', 'src/lib.ts'));
    expect(await search('find', '[ab].?s')).toEqual(below('src/a.ts', 'src/b.js'));
    expect(await search('find', '[')).toBe(400);
    expect(await search('find/none', '*')).toBe(404);
    expect(await search('find/src/a.ts', '*')).toBe(400);
    expect(await search('/', 'passwd')).toContain('/etc/passwd');
  });

  test('is bounded, and says so', async () => {
    const response = await client.send('GET', at('/search', { path: 'many', pattern: '*' }));
    expect(response.headers.get('x-darkroom-truncated')).toBe('true');
    expect(await response.json()).toMatchObject({ files: { length: 10_000 } });
  });
});

describe('find', () => {
  test('gives the lines with a text, of text files only', async () => {
    await sh(`mkdir -p grep/sub; cd grep; printf 'one\\nTODO: a.b\\nTODO axb\\n' > text; printf 'TODO\\000x' > binary; echo 'last TODO: a.b' > sub/deep
      mkfifo fifo; ln -s text link; ln -s / root; printf 'no newline TODO: a.b' > sub/end`);
    const find = async (path: string, pattern: string) => {
      const { status, body } = await client.get(at('/find', { path, pattern }));
      return status === 200
        ? body.sort((a: { file: string }, b: { file: string }) => (a.file < b.file ? -1 : 1))
        : status;
    };
    expect(await find('grep', 'TODO: a.b')).toEqual([
      { file: '/home/app/grep/sub/deep', line: 1, content: 'last TODO: a.b' },
      { file: '/home/app/grep/sub/end', line: 1, content: 'no newline TODO: a.b' },
      { file: '/home/app/grep/text', line: 2, content: 'TODO: a.b' },
    ]);
    expect(await find('grep/text', 'TODO')).toHaveLength(2);
    expect(await find('grep/link', 'one')).toEqual([{ file: '/home/app/grep/link', line: 1, content: 'one' }]);
    expect(await find('grep', 'nothing like it')).toEqual([]);
    expect(await find('grep/none', 'x')).toBe(404);
    expect(await find('grep', '')).toBe(400);
  });

  test('looks through holes, and lines of many megabytes', async () => {
    await sh('mkdir big; truncate -s 300M big/hole; (head -c 50000000 /dev/zero | tr "\\0" x; echo needle) > big/long');
    const { body } = await client.get(at('/find', { path: 'big', pattern: 'needle' }));
    expect(body).toMatchObject([{ file: '/home/app/big/long', line: 1 }]);
    expect(body[0].content.length).toBe(2000);
    await sh('rm -r big');
  });
});

describe('replace', () => {
  test('changes files as wholes, keeps owner and mode, and tells of each', async () => {
    await sh(
      'mkdir rep; cd rep; printf "a.b a.b axb" > one; chmod 750 one; printf none > two; chown root two 2>/dev/null; ln -s one link',
    );
    await client.post(at('/permissions', { path: 'rep/one', owner: '77' }));
    const files = ['rep/one', '/home/app/rep/two', 'rep/missing', 'rep', 'a\0'];
    const { status, body } = await client.post(at('/replace'), { files, pattern: 'a.b', newValue: 'ü' });
    expect(status).toBe(200);
    expect(body).toMatchObject([
      { file: 'rep/one', success: true },
      { file: '/home/app/rep/two', success: true },
      { file: 'rep/missing', success: false, error: expect.stringContaining('does not exist') },
      { file: 'rep', success: false, error: expect.stringContaining('is a directory') },
      { file: 'a\0', success: false, error: expect.any(String) },
    ]);
    expect(await sh('cat rep/one; stat -c " %u %a" rep/one; cat rep/two')).toBe('ü ü axb 77 750\nnone');
    await client.post(at('/replace'), { files: ['rep/link'], pattern: 'axb', newValue: '' });
    expect(await sh('readlink rep/link; cat rep/one')).toBe('one\nü ü ');
    expect((await client.post(at('/replace'), { files: ['rep/one'], pattern: '', newValue: 'x' })).status).toBe(400);
  });

  test('goes through files of any size', async () => {
    await sh('yes 0123456789 | head -c 30000000 > large');
    await client.post(at('/replace'), { files: ['large'], pattern: '9\n0', newValue: '' });
    const expected = createHash('md5')
      .update('0123456789\n'.repeat(2_727_273).slice(0, 30_000_000).replaceAll('9\n0', ''))
      .digest('hex');
    expect(await sh('md5sum < large')).toBe(`${expected}  -\n`);
    await sh('rm large');
  });
});

test('all of it works in an image with nothing in it', async () => {
  await put('/a/file.txt', 'needle', emptyId);
  expect((await client.post(at('/folder', { path: '/b', mode: '755' }, emptyId))).status).toBe(201);
  expect((await client.post(at('/move', { source: '/a/file.txt', destination: '/b' }, emptyId))).status).toBe(200);
  expect(
    (await client.post(at('/permissions', { path: '/b/file.txt', mode: '600', owner: '5' }, emptyId))).status,
  ).toBe(200);
  expect((await client.get(at('/find', { path: '/', pattern: 'needle' }, emptyId))).body).toEqual([
    { file: '/b/file.txt', line: 1, content: 'needle' },
  ]);
  await client.post(at('/replace', {}, emptyId), { files: ['/b/file.txt'], pattern: 'needle', newValue: 'thread' });
  expect((await client.get(at('/search', { path: '/', pattern: 'file*' }, emptyId))).body).toEqual({
    files: ['/b/file.txt'],
  });
  expect((await client.get(at('', { path: '/b' }, emptyId))).body).toMatchObject([
    { name: 'file.txt', owner: '5', group: '0', permissions: '0600' },
  ]);
  expect(await get('/b/file.txt', emptyId)).toBe('thread');
  expect((await client.delete(at('', { path: '/b', recursive: 'true' }, emptyId))).status).toBe(204);
});

test('a sandbox that does not run is refused', async () => {
  const other = (
    await client.post('/api/sandbox', { snapshot: (await client.get(`/api/sandbox/${id}`)).body.snapshot })
  ).body.id;
  await client.post(`/api/sandbox/${other}/stop`);
  for (const answer of [await client.get(at('', {}, other)), await client.delete(at('', { path: 'x' }, other))]) {
    expect(answer.status).toBe(400);
  }
});
