import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DarkroomError } from '../../../platform/errors.ts';
import { python } from '../../../test-support/layers.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

/*
 * Names swap between real directories and links to a directory of the host, as fast as a process in the sandbox can, while every
 * file call works below them. Whatever each of them does, it does inside.
 */
const ROUNDS = 60;
/** Until each call has met a moment in which it could do something. */
const MAX_ROUNDS = 600;
const SECRET = 'only-the-host-has-this';

let id: string;
let outside: string;

beforeAll(async () => {
  outside = await mkdtemp(join(tmpdir(), 'darkroom-outside-'));
  // For everybody: nothing but the resolution of paths keeps it.
  await chmod(outside, 0o777);
  await mkdir(join(outside, 'sub'), { mode: 0o777 });
  for (const file of ['file', 'sub/file']) await writeFile(join(outside, file), `needle ${SECRET}\n`, { mode: 0o666 });
});
afterAll(() => rm(outside, { recursive: true, force: true }));
const lab = setUpServer({ layer: python });
const { client, snapshot } = lab;
beforeAll(async () => {
  id = (await client.post('/api/sandbox', { snapshot })).body.id;
});

const swapper = (targets: readonly string[]) => `
import os, shutil
targets = ${JSON.stringify(targets)}
def attempt(call, *arguments):
    try: call(*arguments)
    except OSError: pass
def fill():
    for d in ('/race/dir', '/race/dir/sub'):
        attempt(os.mkdir, d)
        attempt(os.mkdir, d + '/void')
        try:
            if not os.path.islink('/race/dir'):
                with open(d + '/file', 'x') as f: f.write('needle of the sandbox\\n')
        except OSError: pass
os.makedirs('/race', exist_ok=True)
open('/race/begun', 'w').close()
while not os.path.islink('/race/stop'):
    for target in targets:
        fill()
        for name, hidden in (('/race/dir', '/race/hidden'), ('/race/dir/sub', '/race/dir/hidden'), ('/race/dir/file', '/race/dir/hidden-file')):
            for link in (target, target + '/sub', target + '/file'):
                attempt(os.rename, name, hidden)
                attempt(os.symlink, link, name)
                attempt(os.readlink, name)
                attempt(os.unlink, name)
                attempt(os.rename, hidden, name)
        # What was moved away while its name was taken is not wanted any more.
        for left in ('/race/hidden', '/race/dir/hidden'): shutil.rmtree(left, ignore_errors=True)
`;

/** Everything that a change of a file or a directory would show in; reading alone shows in nothing but the answers. */
async function look(): Promise<string[]> {
  const names = ['', ...(await readdir(outside, { recursive: true }))].sort();
  return Promise.all(
    names.map(async (name) => {
      const path = join(outside, name);
      const { ino, mode, uid, gid, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
      const content = (mode & 0o170000n) === 0o100000n ? await readFile(path, 'utf8') : '';
      return [name, ino, mode, uid, gid, size, mtimeNs, ctimeNs, content].join(' ');
    }),
  );
}

const route = (name: string, query: Record<string, string>) =>
  `/toolbox/${id}/files${name}?${new URLSearchParams(query)}`;

/** Each answers with what came back, so that it can be looked through for the secret. */
function httpCalls(round: number): Record<string, () => Promise<Response>> {
  const json = { 'content-type': 'application/json' };
  const dir = round % 2 === 0 ? '/race/dir' : '/race/dir/sub';
  const post = (name: string, query: Record<string, string>, body?: object) =>
    client.send('POST', route(name, query), body ? { body: JSON.stringify(body), headers: json } : {});
  const form = (...fields: [string, string | Blob][]) => {
    const data = new FormData();
    for (const [name, value] of fields) data.append(name, value);
    return data;
  };
  const content = new Blob(['needle of an upload\n']);
  return {
    list: () => client.send('GET', route('', { path: dir, depth: '3' })),
    info: () => client.send('GET', route('/info', { path: `${dir}/file` })),
    download: () => client.send('GET', route('/download', { path: `${dir}/file` })),
    bulkDownload: () => post('/bulk-download', {}, { paths: [`${dir}/file`, '/race/dir/sub/file'] }),
    search: () => client.send('GET', route('/search', { path: dir, pattern: '*' })),
    find: () => client.send('GET', route('/find', { path: dir, pattern: 'needle' })),
    findAll: () => client.send('GET', route('/find', { path: '/race', pattern: 'needle' })),
    upload: () =>
      client.send('POST', route('/upload', { path: `${dir}/new-${round}` }), { body: form(['file', content]) }),
    overwrite: () => client.send('POST', route('/upload', { path: `${dir}/file` }), { body: form(['file', content]) }),
    bulkUpload: () =>
      client.send('POST', route('/bulk-upload', {}), {
        body: form(['files[0].path', `${dir}/deep/${round}/file`], ['files[0].file', content]),
      }),
    folder: () => post('/folder', { path: `${dir}/folder-${round}`, mode: '711' }),
    permissions: () => post('/permissions', { path: `${dir}/file`, owner: '1234', group: '1234', mode: '600' }),
    directoryPermissions: () => post('/permissions', { path: dir, owner: '1234', mode: '700' }),
    replace: () => post('/replace', {}, { files: [`${dir}/file`], pattern: 'needle', newValue: 'needle needle' }),
    moveOut: () => post('/move', { source: `${dir}/file`, destination: `/race/moved-${round}` }),
    moveAcross: () => post('/move', { source: dir, destination: `/dev/shm/moved-${round}` }),
    moveIn: () => post('/move', { source: `/race/moved-${round - 1}`, destination: dir }),
    delete: () => client.send('DELETE', route('', { path: `${dir}/file` })),
    deleteBelow: () => client.send('DELETE', route('', { path: '/race/dir/sub', recursive: 'true' })),
    deleteAll: () => client.send('DELETE', route('', { path: '/race/dir', recursive: 'true' })),
  };
}

/** What is there for other protocols than HTTP. */
function portCalls(round: number): Record<string, () => Promise<unknown>> {
  const files = lab.server.runtime.files(id);
  const owner = { uid: 7, gid: 7 };
  const { signal } = new AbortController();
  return {
    async openToWrite() {
      const file = await files.open('/race/dir/file', { read: true, write: true, create: { mode: 0o666, owner } });
      try {
        await file.write(0, Buffer.from('written by handle'));
        return String(await file.read(0, 1000));
      } finally {
        await file.close();
      }
    },
    makeLink: () => files.makeLink(outside, `/race/dir/sub/link-${round}`, owner),
    readLink: () => files.readLink('/race/dir'),
    realPath: () => files.realPath('/race/dir/file'),
    cut: () => files.change('/race/dir/sub/file', { size: 1, mtimeMs: 0, atimeMs: 0 }),
    rename: () => files.rename('/race/dir/sub', '/race/dir/renamed', { replace: true, signal }),
    removeDirectory: () => files.removeDirectory('/race/dir/void'),
  };
}

test('no file call leaves the sandbox through names that are swapped meanwhile', async () => {
  const targets = [
    outside,
    `../../../../../../../../../..${outside}`,
    `/proc/1/root${outside}`,
    `/proc/self/root${outside}`,
  ];
  const before = await look();
  const script = new FormData();
  script.append('file', new Blob([swapper(targets)]));
  expect((await client.send('POST', route('/upload', { path: '/swap.py' }), { body: script })).status).toBe(200);
  const swapping = client.post(`/toolbox/${id}/process/execute`, { command: 'python3 /swap.py' });
  await expect
    .poll(
      () =>
        lab.server.runtime
          .files(id)
          .stat('/race/begun')
          .then(
            () => true,
            () => false,
          ),
      { timeout: 30_000 },
    )
    .toBe(true);

  const done: Record<string, number> = {};
  const failures: string[] = [];
  const count = (name: string) => {
    done[name] = (done[name] ?? 0) + 1;
  };
  const all = [...Object.keys(httpCalls(0)), ...Object.keys(portCalls(0))];
  const unlucky = () => all.filter((name) => done[name] === undefined);
  try {
    for (let round = 0; round < ROUNDS || (unlucky().length > 0 && round < MAX_ROUNDS); round += 1) {
      await Promise.all([
        ...Object.entries(httpCalls(round)).map(async ([name, call]) => {
          const answer = await call();
          const text = await answer.text().catch(() => '');
          if (text.includes(SECRET) || answer.status >= 500) failures.push(`${name}: ${answer.status} ${text}`);
          if (answer.ok) count(name);
        }),
        ...Object.entries(portCalls(round)).map(async ([name, call]) => {
          try {
            const answer = String(await call());
            if (answer.includes(SECRET)) failures.push(`${name}: ${answer}`);
            count(name);
          } catch (error) {
            if (!(error instanceof DarkroomError) || !error.isUserError) failures.push(`${name}: ${error}`);
          }
        }),
      ]);
    }
  } finally {
    await lab.server.runtime.files(id).makeLink('now', '/race/stop', { uid: 0, gid: 0 });
  }
  expect((await swapping).body).toMatchObject({ exitCode: 0, result: '' });
  expect(failures).toEqual([]);
  expect(await look()).toEqual(before);
  // A race that nobody could win would show nothing.
  expect(unlucky()).toEqual([]);
}, 180_000);
