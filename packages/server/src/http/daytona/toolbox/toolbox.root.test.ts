import { readdir } from 'node:fs/promises';
import { beforeAll, expect, test } from 'vitest';
import { empty, python } from '../../../test-support/layers.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

const image = JSON.stringify({ env: ['FROM_IMAGE=yes'], user: 'app', workingDir: '/home/app' });
const lab = setUpServer({ layer: python, values: { image } });
const { client, snapshot } = lab;
let id: string;

beforeAll(async () => {
  id = (await client.post('/api/sandbox', { snapshot, env: { FROM_SANDBOX: 'yes' } })).body.id;
});

const execute = (body: object) => client.post(`/toolbox/${id}/process/execute`, body);
const codeRun = (body: object) => client.post(`/toolbox/${id}/process/code-run`, body);
const isRunning = async (name: string) => (await execute({ command: `pidof ${name}` })).body.exitCode === 0;

test('a command gives its exit code and both streams in the order of writing', async () => {
  const answer = await execute({ command: 'echo one; echo two >&2; echo three; exit 7' });
  expect(answer).toEqual({ status: 200, body: { exitCode: 7, result: 'one\ntwo\nthree\n' } });
});

test("commands run as the image's user in its work dir, with the image's and the sandbox's environment", async () => {
  const { body } = await execute({
    command: 'id -un; pwd; echo $HOME $FROM_IMAGE $FROM_SANDBOX $FROM_REQUEST',
    envs: { FROM_REQUEST: 'yes' },
  });
  expect(body.result).toBe('app\n/home/app\n/home/app yes yes yes\n');
  expect((await client.get(`/toolbox/${id}/work-dir`)).body).toEqual({ dir: '/home/app' });
  expect((await client.get(`/toolbox/${id}/user-home-dir`)).body).toEqual({ dir: '/home/app' });
  expect((await client.get(`/toolbox/${id}/version`)).body).toEqual({ version: '0.0.0-test' });
});

test('cwd may be relative to the work dir; a missing one is refused', async () => {
  await execute({ command: 'mkdir -p sub' });
  expect((await execute({ command: 'pwd', cwd: 'sub' })).body.result).toBe('/home/app/sub\n');
  const missing = await execute({ command: 'pwd', cwd: '/no/where' });
  expect(missing).toMatchObject({
    status: 400,
    body: { statusCode: 400, message: expect.stringContaining('/no/where') },
  });
});

test.each([
  [{ command: '' }, 'command is required'],
  [{ command: ' ' }, 'command is required'],
  [{ command: 'a\0b' }, 'must not contain NUL'],
  [{ command: 'true', envs: { 'A=': 'x' } }, 'must not contain "="'],
  [{}, 'command'],
])('%j is refused', async (body, message) => {
  const answer = await execute(body);
  expect(answer).toMatchObject({ status: 400, body: { statusCode: 400, message: expect.stringContaining(message) } });
});

test('a time-out ends the whole process tree, also what changed its session', async () => {
  const command = 'setsid sleep 7777 & sleep 7776';
  const answer = await execute({ command, timeout: 0.5 });
  expect(answer).toMatchObject({ status: 408, body: { statusCode: 408, message: 'command execution timeout' } });
  expect((await execute({ command: 'ps -o args | grep [s]leep' })).body.result).toBe('');
});

test('a client that goes away ends its command', async () => {
  const controller = new AbortController();
  const headers = {
    authorization: `Bearer ${lab.apiKey}`,
    'content-type': 'application/json',
  };
  const request = fetch(`${lab.server.url}/toolbox/${id}/process/execute`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ command: 'exec nc -l -p 4567 127.0.0.1' }),
    signal: controller.signal,
  });
  await expect.poll(() => isRunning('nc'), { timeout: 20_000 }).toBe(true);
  controller.abort();
  await request.catch(() => {});
  await expect.poll(() => isRunning('nc'), { timeout: 20_000 }).toBe(false);
});

test('a background process that holds the output does not hold the answer, and lives on', async () => {
  const { body } = await execute({ command: 'nc -l -p 4568 127.0.0.1 & echo started' });
  expect(body).toEqual({ exitCode: 0, result: 'started\n' });
  expect(await isRunning('nc')).toBe(true);
  await execute({ command: 'killall nc' });
});

test('an output of many megabytes comes whole, and one past the bound is cut and says so', async () => {
  const big = await execute({ command: 'head -c 20000000 /dev/zero | tr "\\0" x; echo end' });
  expect(big.body.result).toHaveLength(20_000_004);
  expect(big.body.result.endsWith('xend\n')).toBe(true);
  const over = await execute({ command: 'head -c 70000000 /dev/zero | tr "\\0" x' });
  expect(over.body.result.slice(-110)).toContain('[output truncated: 2891136 more bytes were dropped');
  expect((await readdir(lab.server.spoolDirectory)).filter((name) => name.startsWith('output-'))).toEqual([]);
});

test('output that is not text is safe JSON', async () => {
  const { body } = await execute({ command: 'printf "a\\000b\\377c\\303\\274"' });
  expect(body.result).toBe('a\0b\ufffdcü');
});

test('a command that is larger than one argument may be', async () => {
  const text = 'x'.repeat(300_000);
  expect((await execute({ command: `echo ${text} | wc -c` })).body.result.trim()).toBe('300001');
});

test('Python code runs with arguments and environment, and its exit code comes back', async () => {
  const code = 'import sys, os\nprint(sys.argv[1:], os.environ["A"])\nprint("err", file=sys.stderr)\nsys.exit(3)';
  const { status, body } = await codeRun({ code, language: 'python', argv: ['a', 'b c'], envs: { A: '1' } });
  expect(status).toBe(200);
  expect(body).toEqual({ exitCode: 3, result: "['a', 'b c'] 1\nerr\n", artifacts: { charts: [] } });
});

test('charts are taken out of the result', async () => {
  const code = 'print("before")\nprint(\'dtn_artifact_k39fd2:{"type":"chart","value":{"title":"t"}}\')\nprint("after")';
  const { body } = await codeRun({ code });
  expect(body).toEqual({ exitCode: 0, result: 'before\nafter\n', artifacts: { charts: [{ title: 't' }] } });
});

test('code has a time-out too', async () => {
  const { status, body } = await codeRun({ code: 'while True: pass', timeout: 1 });
  expect({ status, message: body.message }).toEqual({ status: 408, message: 'command execution timeout' });
});

test('a language without a runner says so, one that nobody knows is refused', async () => {
  const { body } = await codeRun({ code: 'console.log(1)', language: 'javascript' });
  expect(body).toMatchObject({ exitCode: 127, result: expect.stringContaining('Node.js is not installed') });
  const typescript = await codeRun({ code: 'let a: number = 1', language: 'typescript' });
  expect(typescript.body).toMatchObject({ exitCode: 127, result: expect.stringContaining('install ts-node') });
  expect((await codeRun({ code: '1', language: 'cobol' })).status).toBe(400);
});

test('an image without a shell gets a clear refusal', async () => {
  const snapshot = await lab.server.addSnapshot(lab.organizationId, empty, { image: '{}' });
  const { body: bare } = await client.post('/api/sandbox', { snapshot });
  const answer = await client.post(`/toolbox/${bare.id}/process/execute`, { command: 'true' });
  expect(answer).toMatchObject({ status: 400, body: { message: expect.stringContaining('has no shell') } });
  await client.delete(`/api/sandbox/${bare.id}`);
});

function form(entries: readonly [string, string | Uint8Array][]): FormData {
  const data = new FormData();
  for (const [name, value] of entries) {
    if (typeof value === 'string') data.append(name, value);
    else data.append(name, new Blob([Buffer.from(value)]), 'name');
  }
  return data;
}
const upload = (path: string, body: FormData) => client.send('POST', `/toolbox/${id}/files/${path}`, { body });
const download = async (path: string) =>
  Buffer.from(
    await (await client.send('GET', `/toolbox/${id}/files/download?path=${encodeURIComponent(path)}`)).arrayBuffer(),
  );
const bytes = (text: string) => Buffer.from(text);

test('files go in by one form in any order of its parts, with parents, owned by the user', async () => {
  const answer = await upload(
    'bulk-upload',
    form([
      ['files[0].path', 'deep/er/a.txt'],
      ['files[0].file', bytes('first')],
      ['files[1].file', bytes('second')],
      ['files[1].path', '/home/app/b.bin'],
      ['files[3].path', 'c'],
      ['files[2].path', 'd'],
      ['files[3].file', bytes('')],
      ['files[2].file', bytes('fourth')],
    ]),
  );
  expect(answer.status).toBe(200);
  expect((await execute({ command: 'cat deep/er/a.txt b.bin c d; stat -c %U deep/er/a.txt' })).body.result).toBe(
    'firstsecondfourthapp\n',
  );
  expect((await readdir(lab.server.spoolDirectory)).filter((name) => name.startsWith('upload-'))).toEqual([]);
});

test('what cannot be written is told by its path, the rest is in place', async () => {
  const answer = await upload(
    'bulk-upload',
    form([
      ['files[0].path', '/home/app'],
      ['files[0].file', bytes('x'.repeat(300_000))],
      ['files[1].path', 'good'],
      ['files[1].file', bytes('y')],
      ['files[2].file', bytes('z')],
    ]),
  );
  expect(answer.status).toBe(400);
  expect(await answer.json()).toEqual({
    errors: [expect.stringContaining('/home/app'), 'files[2]: the path is missing'],
    message: expect.stringMatching(/home.app.*, files\[2\]: the path is missing/),
  });
  expect((await download('good')).toString()).toBe('y');
});

test('a large file survives the way in and out', async () => {
  const content = Buffer.alloc(30_000_000, 'darkroom');
  expect((await upload('upload?path=big', form([['file', content]]))).status).toBe(200);
  expect((await download('big')).equals(content)).toBe(true);
});

test('a form without a file, and a body that is no form, are refused', async () => {
  expect((await upload('upload?path=x', form([['a', 'b']]))).status).toBe(400);
  expect((await upload('bulk-upload', form([]))).status).toBe(400);
  expect((await client.post(`/toolbox/${id}/files/upload?path=x`, { a: 1 })).status).toBe(400);
  expect((await client.send('POST', `/toolbox/${id}/files/upload?path=x`)).status).toBe(400);
});

test('an upload that is cut leaves the old file', async () => {
  await upload('upload?path=kept', form([['file', bytes('old')]]));
  const controller = new AbortController();
  async function* body() {
    yield Buffer.from('--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nnew');
    yield Buffer.alloc(200_000, 'n');
    controller.abort();
  }
  const request: RequestInit = {
    method: 'POST',
    body: ReadableStream.from(body()),
    duplex: 'half',
    signal: controller.signal,
    headers: {
      authorization: `Bearer ${lab.apiKey}`,
      'content-type': 'multipart/form-data; boundary=b',
    },
  };
  await expect(fetch(`${lab.server.url}/toolbox/${id}/files/upload?path=kept`, request)).rejects.toThrow();
  expect((await download('kept')).toString()).toBe('old');
  expect((await execute({ command: 'ls -A /home/app | grep -c kept' })).body.result).toBe('1\n');
});

test('many files come out in one answer with their names as asked for, and failures as parts', async () => {
  await upload('upload?path=%C3%BC%22.txt', form([['file', bytes('umlaut')]]));
  const paths = ['good', 'missing', '/home/app', 'ü".txt'];
  const answer = await client.send('POST', `/toolbox/${id}/files/bulk-download`, {
    body: JSON.stringify({ paths }),
    headers: { 'content-type': 'application/json' },
  });
  expect(answer.headers.get('content-type')).toBe('multipart/form-data; boundary=DAYTONA-FILE-BOUNDARY');
  const text = await answer.text();
  expect(text).toContain('name="file"; filename="good"\r\nContent-Type: application/octet-stream\r\nContent-Length: 1');
  expect(text).toMatch(/name="error"; filename="missing"\r\nContent-Type: application\/json[\s\S]*"statusCode":404/);
  expect(text).toMatch(/name="error"; filename="\/home\/app"[\s\S]*"statusCode":400/);
  expect(text).toContain("filename*=UTF-8''%C3%BC%22.txt");
  expect(text.endsWith('\r\n--DAYTONA-FILE-BOUNDARY--\r\n')).toBe(true);
  expect((await client.post(`/toolbox/${id}/files/bulk-download`, { paths: [] })).status).toBe(400);
});

test('file info says what a path is', async () => {
  await execute({ command: 'printf 12345 > info.txt; chmod 640 info.txt' });
  expect((await client.get(`/toolbox/${id}/files/info?path=info.txt`)).body).toMatchObject({
    name: 'info.txt',
    size: 5,
    mode: '-rw-r-----',
    permissions: '0640',
    isDir: false,
    owner: 'app',
  });
  expect((await client.get(`/toolbox/${id}/files/info?path=/home`)).body).toMatchObject({ isDir: true, owner: 'root' });
  expect((await client.get(`/toolbox/${id}/files/info?path=nope`)).status).toBe(404);
  expect((await client.get(`/toolbox/${id}/files/info`)).status).toBe(400);
});

test('an unknown sandbox is 404 in the shape of the toolbox', async () => {
  const answer = await client.post('/toolbox/unknown/process/execute', { command: 'true' });
  expect(answer).toMatchObject({ status: 404, body: { statusCode: 404, method: 'POST', code: 'NOT_FOUND' } });
});

test('tools that are not there are refused with what to do instead', async () => {
  for (const path of ['lsp/start', 'computeruse/start']) {
    expect(await client.post(`/toolbox/${id}/${path}`, {})).toMatchObject({
      status: 400,
      body: { message: expect.stringMatching(/not supported by this server yet\. \w/) },
    });
  }
});
