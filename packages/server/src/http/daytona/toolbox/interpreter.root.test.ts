import { readdirSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { busybox, python } from '../../../test-support/layers.ts';
import { officialClients } from '../../../test-support/official-clients.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

const image = JSON.stringify({ user: 'app', workingDir: '/home/app' });
const lab = setUpServer({ layer: python, values: { image } });
const { client } = lab;
const { clients } = officialClients(lab);
let id: string;

beforeAll(async () => {
  await lab.server.addSnapshot(lab.organizationId, busybox, { name: 'plain', image });
  id = (await client.post('/api/sandbox', { env: { FROM_SANDBOX: 'yes' } })).body.id;
});

interface Message {
  type: string;
  text?: string;
  name?: string;
  value?: string;
  traceback?: string;
}

/** A run as it is on the wire. `until` sees each message as it comes, and may close the connection. */
async function run(
  request: object | string,
  options: { sandbox?: string; onMessage?: (m: Message, s: WebSocket) => void } = {},
) {
  const url = `${lab.server.url.replace('http', 'ws')}/toolbox/${options.sandbox ?? id}/process/interpreter/execute`;
  const socket = new WebSocket(url, { headers: { authorization: `Bearer ${lab.apiKey}` } });
  const messages: Message[] = [];
  socket.on('message', (data) => {
    const message: Message = JSON.parse(data.toString());
    messages.push(message);
    options.onMessage?.(message, socket);
  });
  socket.on('open', () => socket.send(typeof request === 'string' ? request : JSON.stringify(request)));
  const closed = await new Promise<{ code: number; reason: string }>((resolve, reject) => {
    socket.once('error', reject);
    socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  const join = (type: string) =>
    messages
      .filter((message) => message.type === type)
      .map(({ text }) => text)
      .join('');
  return {
    ...closed,
    stdout: join('stdout'),
    stderr: join('stderr'),
    control: join('control'),
    error: messages.find(({ type }) => type === 'error'),
    messages,
  };
}

const context = async (body: object = {}) =>
  (await client.post(`/toolbox/${id}/process/interpreter/context`, body)).body.id as string;

describe.each(clients)('%s', (name, connectClient) => {
  test('runs code whose state stays', async () => {
    const { codeInterpreter } = await connectClient().get(id);
    const variable = name.replace(/\W/g, '_');
    await codeInterpreter.runCode(`import os\nv${variable} = 41`);
    const seen: string[] = [];
    const result = await codeInterpreter.runCode(
      `import sys\nprint(v${variable} + 1, os.environ["A"])\nsys.stderr.write("warned")\n1/0`,
      { envs: { A: 'b' }, onStdout: ({ output }) => void seen.push(output) },
    );
    expect(result).toMatchObject({ stdout: '42 b\n', stderr: 'warned', error: { name: 'ZeroDivisionError' } });
    expect(seen.join('')).toBe('42 b\n');

    const own = await codeInterpreter.createContext('/tmp');
    expect(own).toMatchObject({ language: 'python', cwd: '/tmp', active: true });
    const apart = await codeInterpreter.runCode(`import os\nprint(os.getcwd(), "v${variable}" in globals())`, {
      context: own,
    });
    expect(apart.stdout).toBe('/tmp False\n');
    expect((await codeInterpreter.listContexts()).map((info) => info.id)).toContain(own.id);
    await codeInterpreter.deleteContext(own);
    expect((await codeInterpreter.listContexts()).map((info) => info.id)).not.toContain(own.id);
    await expect(codeInterpreter.runCode('print(1)', { context: own })).rejects.toThrow('not found');
    await expect(codeInterpreter.runCode('import time\ntime.sleep(100)', { timeout: 1 })).rejects.toThrow('timed out');
    expect((await codeInterpreter.runCode(`print(v${variable})`)).stdout).toBe('41\n');
  });
});

describe('a run', () => {
  test('streams what it writes as it comes, by itself, its children and its C', async () => {
    const contextId = await context();
    const seen: string[] = [];
    const code = [
      'import os, subprocess, sys',
      'print("print")',
      'os.write(1, b"raw\\n")',
      'subprocess.run(["sh", "-c", "echo child; echo error >&2"])',
      'os.mkfifo("/tmp/go-on")',
      'print("waits", flush=True)',
      'open("/tmp/go-on").read()',
      'sys.stdout.write("no newline \\x1e \\u00fc")',
    ].join('\n');
    const result = await run(
      { code, contextId },
      {
        onMessage({ text }) {
          seen.push(text ?? '');
          // Only when this has come, the code is let go on.
          if (text?.includes('waits'))
            void client.post(`/toolbox/${id}/process/execute`, { command: 'echo > /tmp/go-on' });
        },
      },
    );
    expect(result).toMatchObject({
      stdout: 'print\nraw\nchild\nwaits\nno newline \x1e ü',
      stderr: 'error\n',
      code: 1000,
    });
    expect(result.control).toBe('completed');
  });

  test('tells of an exception with its name, value and a traceback of the code alone', async () => {
    const contextId = await context();
    await run({ code: 'def divide(a, b):\n    return a / b', contextId });
    const { error, control, code } = await run({ code: 'divide(1,\n  0)', contextId });
    expect(error).toMatchObject({ name: 'ZeroDivisionError', value: 'division by zero' });
    expect(error?.traceback).toContain('return a / b');
    expect(error?.traceback).not.toContain('<string>');
    expect([control, code]).toEqual(['completed', 1000]);
    expect((await run({ code: 'def', contextId })).error).toMatchObject({ name: 'SyntaxError' });
    expect((await run({ code: 'raise SystemExit(3)', contextId })).error).toMatchObject({
      name: 'SystemExit',
      value: '3',
    });
    expect(await run({ code: 'exit()', contextId })).toMatchObject({ error: undefined, control: 'completed' });
    const strange = 'class E(Exception):\n  def __str__(self): raise ValueError\nraise E';
    expect((await run({ code: strange, contextId })).error).toMatchObject({ name: 'E', value: '' });
    expect((await run({ code: 'print(divide(4, 2))', contextId })).stdout).toBe('2.0\n');
  });

  test('past its time is interrupted wherever it is, and what was there stays', async () => {
    const contextId = await context();
    await run({ code: 'kept = 1', contextId });
    const slow = [
      'import time\ntime.sleep(1000)',
      'while True: pass',
      'import os\nos.system("sleep 1000")\nwhile True: pass',
      'import threading\nthreading.Lock().acquire() and None\nthreading.Event().wait()',
      'while True:\n  try:\n    import time; time.sleep(1000)\n  except KeyboardInterrupt: break\nimport sys; sys.exit()',
    ];
    for (const code of slow) {
      expect(await run({ code, contextId, timeout: 0.3 })).toMatchObject({ code: 4008, control: '' });
    }
    expect((await run({ code: 'print(kept)', contextId })).stdout).toBe('1\n');
  });

  test('that cannot be interrupted is ended, and the next one begins anew', async () => {
    const contextId = await context();
    await run({ code: 'kept = 1', contextId });
    const stubborn = 'import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass';
    expect((await run({ code: stubborn, contextId, timeout: 0.3 })).code).toBe(4008);
    expect((await run({ code: 'print("kept" in globals())', contextId })).stdout).toBe('False\n');
  });

  test('that kills its interpreter says so, with what it had written', async () => {
    const contextId = await context();
    const died = await run({ code: 'import os\nprint("last words")\nos.kill(os.getpid(), 9)', contextId });
    expect(died).toMatchObject({ stdout: 'last words\n', control: 'completed', code: 1000 });
    expect(died.error).toMatchObject({ name: 'InterpreterExited', value: expect.stringContaining('SIGKILL') });
    expect((await run({ code: 'print("again")', contextId })).stdout).toBe('again\n');
  });

  test('ends when its client goes away, and its context is there for the next', async () => {
    const contextId = await context();
    await run(
      { code: 'mine = 5\nprint("started", flush=True)\nimport time\ntime.sleep(1000)', contextId },
      { onMessage: (_message, socket) => socket.terminate() },
    );
    expect((await run({ code: 'print(mine)', contextId })).stdout).toBe('5\n');
  });

  test('of much output does not fill the server, and comes whole', async () => {
    const { stdout } = await run({ code: 'for _ in range(20): print("x" * 1_000_000)' });
    expect(stdout.length).toBe(20 * 1_000_001);
  });

  test('comes after the ones before it in its context, and beside those of others', async () => {
    const contexts = await Promise.all([context(), context(), context()]);
    const runs = contexts.flatMap((contextId, c) =>
      [1, 2, 3].map((n) =>
        run({
          code: `import time\ntrail = globals().get("trail", "") + "${n}"\ntime.sleep(0.05)\nprint(trail, ${c})`,
          contextId,
        }),
      ),
    );
    const outputs = (await Promise.all(runs)).map(({ stdout }) => stdout);
    for (const c of [0, 1, 2]) {
      // Which connection comes first is not said; that no run saw another one halfway is.
      const lengths = outputs.filter((output) => output.endsWith(` ${c}\n`)).map((output) => output.length);
      expect(lengths.sort()).toEqual([4, 5, 6]);
    }
  });

  test.each([
    ['{', 'not JSON'],
    [{}, 'code'],
    [{ code: ' ' }, 'code is required'],
    [{ code: '1', contextId: 'missing' }, 'Interpreter context missing not found'],
    [{ code: '1', envs: { 'A=': 'b' } }, 'must not contain "="'],
  ])('of %j is refused', async (request, words) => {
    expect(await run(request)).toMatchObject({ code: 1008, reason: expect.stringContaining(words) });
  });
});

describe('a context', () => {
  test('is ended with all that it started', async () => {
    const contextId = await context();
    await run({ code: 'import subprocess\nsubprocess.Popen(["sleep", "8888"], start_new_session=True)', contextId });
    const url = `/toolbox/${id}/process/interpreter/context/${contextId}`;
    expect((await client.delete(url)).status).toBe(200);
    const { body } = await client.post(`/toolbox/${id}/process/execute`, {
      command: "ps -o args | grep '[s]leep 8888'",
    });
    expect(body.exitCode).toBe(1);
    expect((await client.delete(url)).status).toBe(404);
  });

  test('needs Python in the image, and says so', async () => {
    const { body } = await client.post('/api/sandbox', { snapshot: 'plain' });
    const words = 'Python is not installed in this sandbox: python3 is not in its PATH.';
    const created = await client.post(`/toolbox/${body.id}/process/interpreter/context`, {});
    expect(created).toMatchObject({ status: 400, body: { message: words } });
    expect(await run({ code: 'print(1)' }, { sandbox: body.id })).toMatchObject({ code: 1008, reason: words });
    await client.delete(`/api/sandbox/${body.id}`);
  });

  test('ends with its sandbox', async () => {
    const { body } = await client.post('/api/sandbox', {});
    const url = `/toolbox/${body.id}/process/interpreter/context`;
    expect((await client.post(url, {})).status).toBe(200);
    const running = run(
      { code: 'print("on", flush=True)\nimport time\ntime.sleep(1000)' },
      {
        sandbox: body.id,
        onMessage: ({ type }) => type === 'stdout' && void client.post(`/api/sandbox/${body.id}/stop?force=true`, {}),
      },
    );
    expect((await running).error).toMatchObject({ name: 'InterpreterExited' });
    await expect
      .poll(async () => (await client.get(`/api/sandbox/${body.id}`)).body.state, { timeout: 20_000 })
      .toBe('stopped');
    await client.post(`/api/sandbox/${body.id}/start`, {});
    expect((await client.get(url)).body).toEqual({ contexts: [] });
    await client.delete(`/api/sandbox/${body.id}`);
  });

  test('is of Python only', async () => {
    const answer = await client.post(`/toolbox/${id}/process/interpreter/context`, { language: 'ruby' });
    expect(answer).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining('"ruby" is not supported') },
    });
  });

  test('and its runs leave no descriptor of the server behind', async () => {
    async function round(): Promise<number> {
      const contexts = await Promise.all(Array.from({ length: 4 }, () => context()));
      await Promise.all(
        contexts.map((contextId, i) => run({ code: i % 2 === 0 ? 'print(1)' : 'import os; os._exit(1)', contextId })),
      );
      const ended = contexts.map((one) => client.delete(`/toolbox/${id}/process/interpreter/context/${one}`));
      await Promise.all(ended);
      return readdirSync('/proc/self/fd').length;
    }
    // The first round opens what the client and the database keep open.
    const before = await round();
    await round();
    await expect.poll(round, { timeout: 30_000 }).toBeLessThanOrEqual(before + 4);
  });
});

test('an interpreter that is killed at the memory limit says why', async () => {
  const { body } = await client.post('/api/sandbox', {});
  await client.post(`/api/sandbox/${body.id}/resize`, { memory: 0.125 });
  const { messages } = await run({ code: 'x = bytearray(400 * 1024 ** 2)' }, { sandbox: body.id });
  expect(messages).toContainEqual(
    expect.objectContaining({
      name: 'InterpreterExited',
      value: expect.stringContaining('reached its memory limit'),
    }),
  );
  await client.delete(`/api/sandbox/${body.id}`);
});
