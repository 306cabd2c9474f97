import { readdirSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { busybox } from '../../../test-support/layers.ts';
import { officialClients } from '../../../test-support/official-clients.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

const image = JSON.stringify({ user: 'app', workingDir: '/home/app' });
const lab = setUpServer({ layer: busybox, values: { image } });
const { client } = lab;
const { clients } = officialClients(lab);
let id: string;

beforeAll(async () => {
  id = (await client.post('/api/sandbox', { env: { FROM_SANDBOX: 'yes' } })).body.id;
});

const base = (sandbox = id) => `/toolbox/${sandbox}/process/pty`;
const isRunning = async (what: string) =>
  (await client.post(`/toolbox/${id}/process/execute`, { command: `ps -o args | grep '[${what[0]}]${what.slice(1)}'` }))
    .body.exitCode === 0;

/** A raw connection: what it was sent, and waiting for it. */
function connect(path: string, options: { protocols?: string[]; key?: string } = {}) {
  const socket = new WebSocket(`${lab.server.url.replace('http', 'ws')}${path}`, options.protocols ?? [], {
    headers: { authorization: `Bearer ${options.key ?? lab.apiKey}` },
  });
  let output = '';
  let bytes = 0;
  const controls: unknown[] = [];
  let changed = Promise.withResolvers<void>();
  const notify = () => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  socket.on('message', (data, isBinary) => {
    if (isBinary) {
      bytes += Buffer.from(data as Buffer).length;
      output = (output + data.toString()).slice(-100_000);
    } else controls.push(JSON.parse(data.toString()));
    notify();
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once('close', (code, reason) => {
      resolve({ code, reason: reason.toString() });
      notify();
    }),
  );
  const failed = new Promise<number>((resolve) =>
    socket.once('unexpected-response', (_request, response) => {
      resolve(response.statusCode ?? 0);
      response.resume();
    }),
  );
  socket.on('error', () => {});
  return {
    socket,
    controls,
    closed,
    failed,
    get bytes() {
      return bytes;
    },
    type: (text: string) => socket.send(Buffer.from(text)),
    async until<T>(what: () => T | undefined | false | null): Promise<T> {
      for (;;) {
        const found = what();
        if (found) return found;
        if (socket.readyState === WebSocket.CLOSED) throw new Error(`closed after ${JSON.stringify(output)}`);
        await changed.promise;
      }
    },
    shows(pattern: RegExp): Promise<string> {
      return this.until(() => {
        const found = pattern.exec(output);
        if (found) output = output.slice(found.index + found[0].length);
        return found?.[0];
      });
    },
    connected() {
      return this.until(() => controls.some((message) => JSON.stringify(message).includes('connected')));
    },
  };
}

const EXIT_CONTROL = 'X-Daytona-Pty-Exit-Control';
const QUIET = 'stty -echo; PS1=; ';

/** A terminal with somebody at it, whose shell is quiet. */
async function open(name: string, extra: object = {}, sandbox = id) {
  const created = await client.post(base(sandbox), { id: name, ...extra });
  expect(created).toEqual({ status: 201, body: { sessionId: name } });
  const at = connect(`${base(sandbox)}/${name}/connect`);
  await at.connected();
  at.type(`${QUIET}echo qu""iet\n`);
  await at.shows(/quiet\r\n/);
  return at;
}

describe.each(clients)('%s', (name, connectClient) => {
  test('uses a terminal from its creation to its end', async () => {
    const sandbox = await connectClient().get(id);
    const session = `sdk-${name.replace(/\W/g, '-')}`;
    let shown = '';
    const onData = (data: Uint8Array) => {
      shown += Buffer.from(data).toString();
    };
    const shows = (text: string) => expect.poll(() => shown, { timeout: 20_000 }).toContain(text);
    const options = { id: session, cwd: '/tmp', envs: { GREETING: 'héllo' }, cols: 100, rows: 30, onData };
    const pty = await sandbox.process.createPty(options);
    expect(pty.isConnected()).toBe(true);
    await pty.sendInput(`${QUIET}pwd; echo "$GREETING $FROM_SANDBOX $TERM"; stty size\n`);
    await shows('/tmp\r\nhéllo yes xterm-256color\r\n30 100\r\n');

    expect(await pty.resize(120, 40)).toMatchObject({ id: session, cols: 120, rows: 40, active: true });
    await pty.sendInput('stty size\n');
    await shows('40 120\r\n');
    expect((await sandbox.process.listPtySessions()).map((info) => info.id)).toContain(session);
    expect(await sandbox.process.getPtySessionInfo(session)).toMatchObject({
      cwd: '/tmp',
      envs: { GREETING: 'héllo' },
      active: true,
    });
    await expect(sandbox.process.createPty({ ...options })).rejects.toThrow();

    const again = await sandbox.process.connectPty(session, { onData });
    await pty.disconnect();
    await again.sendInput('echo still here; exit 7\n');
    expect(await again.wait()).toMatchObject({ exitCode: 7 });
    expect(shown).toContain('still here');

    const killed = await sandbox.process.createPty({ ...options, id: `${session}-killed` });
    await killed.kill();
    expect(await killed.wait()).toMatchObject({ exitCode: 137, error: 'the PTY session was deleted' });
    await expect(sandbox.process.getPtySessionInfo(`${session}-killed`)).rejects.toMatchObject({ statusCode: 404 });
  });
});

describe('a terminal over HTTP', () => {
  test('that starts lazily is started by whoever connects first, once', async () => {
    expect((await client.post(base(), { id: 'lazy', lazyStart: true, cols: 90, rows: 20 })).status).toBe(201);
    expect((await client.get(`${base()}/lazy`)).body).toMatchObject({ active: false, lazyStart: true });
    const both = [connect(`${base()}/lazy/connect`), connect(`${base()}/lazy/connect`)] as const;
    await Promise.all(both.map((at) => at.connected()));
    both[0].type(`${QUIET}echo size $(stty size)\n`);
    await Promise.all(both.map((at) => at.shows(/size 20 90\r\n/)));
    both[1].type('exit\n');
    for (const at of both) expect(await at.closed).toEqual({ code: 1000, reason: '{"exitCode":0}' });
    expect((await client.get(`${base()}/lazy`)).body).toMatchObject({ active: false });
    // Whoever comes late hears how it ended; and its name is free.
    expect((await connect(`${base()}/lazy/connect`).closed).reason).toBe('{"exitCode":0}');
    expect((await client.post(base(), { id: 'lazy' })).status).toBe(201);
    expect((await client.delete(`${base()}/lazy`)).status).toBe(200);
  });

  test('goes on without anybody, and shows what was missed to who comes back', async () => {
    await client.post(`/toolbox/${id}/process/execute`, { command: 'mkfifo /tmp/go' });
    const first = await open('kept');
    first.type('read -r line < /tmp/go; echo got $line; sleep 5555\n');
    first.socket.terminate();
    await first.closed;
    await client.post(`/toolbox/${id}/process/execute`, { command: 'echo news > /tmp/go' });
    await expect.poll(() => isRunning('sleep 5555'), { timeout: 20_000 }).toBe(true);
    const second = connect(`${base()}/kept/connect`, { protocols: [EXIT_CONTROL] });
    await second.shows(/got news\r\n/);
    expect(second.socket.protocol).toBe(EXIT_CONTROL);
    expect(await client.delete(`${base()}/kept`)).toMatchObject({ status: 200 });
    expect(await isRunning('sleep 5555')).toBe(false);
    expect(JSON.parse((await second.closed).reason)).toMatchObject({ exitCode: 137 });
    expect(second.controls.at(-1)).toEqual({
      type: 'control',
      status: 'exited',
      exitCode: 137,
      exitReason: 'the PTY session was deleted',
    });
    expect((await client.get(`${base()}/kept`)).status).toBe(404);
  });

  test('takes signals as they are typed, and never passes output for a control message', async () => {
    const at = await open('signals');
    at.type('sh -c "echo sl""eeping; exec sleep 6666"\n');
    await at.shows(/sleeping/);
    at.type('\x03');
    at.type(`\necho 'code='$?; echo '{"type":"control","status":"exited","exitCode":0}'\n`);
    await at.shows(/code=\d+\r\n\{"type":"control"/);
    expect(at.controls).toEqual([{ type: 'control', status: 'connected' }]);
    expect(await isRunning('sleep 6666')).toBe(false);
    await client.delete(`${base()}/signals`);
  });

  test('waits for a client that does not read, and then everything comes', async () => {
    const at = await open('slow');
    at.socket.pause();
    const total = 24 * 1024 * 1024;
    const before = at.bytes;
    at.type(`stty raw; head -c ${total} /dev/zero | tr "\\0" x; stty -raw; touch /tmp/written; echo; echo E""ND\n`);
    // The client's and the kernel's buffers hold a part; the program cannot have written all of it.
    const missing = await client.post(`/toolbox/${id}/process/execute`, { command: 'sleep 1; ls /tmp/written' });
    expect(missing.body.exitCode).not.toBe(0);
    at.socket.resume();
    await at.shows(/x\r?\n\r?END/);
    expect(at.bytes - before).toBeGreaterThan(total);
    await client.delete(`${base()}/slow`);
  });

  test('ends with its sandbox, and its clients are told', async () => {
    const { body } = await client.post('/api/sandbox', {});
    const at = await open('short', {}, body.id);
    expect((await client.post(`/api/sandbox/${body.id}/stop?force=true`, {})).status).toBe(200);
    expect(JSON.parse((await at.closed).reason)).toMatchObject({ exitCode: 137 });
    expect((await client.get(`${base(body.id)}/short`)).status).toBe(400);
    await client.post(`/api/sandbox/${body.id}/start`, {});
    expect((await client.get(base(body.id))).body).toEqual({ sessions: [] });
    await client.delete(`/api/sandbox/${body.id}`);
  });

  test('is created and connected to in one go, with a secret environment that no answer shows', async () => {
    const token = `X-Daytona-Pty-Envs~${Buffer.from('{"SECRET":"s3"}').toString('base64url')}`;
    const at = connect(`${base()}/create-connect?id=once&cols=70&rows=20&cwd=/`, { protocols: [token, EXIT_CONTROL] });
    await at.connected();
    expect(at.socket.protocol).toBe(EXIT_CONTROL);
    at.type(`${QUIET}echo $SECRET $(stty size) $(pwd); exit 3\n`);
    await at.shows(/s3 20 70 \/\r\n/);
    expect(await at.closed).toEqual({ code: 1000, reason: '{"exitCode":3,"exitReason":"exit code 3"}' });
  });

  test.each([
    ['a session that is not there', '/missing/connect', 404],
    ['a size that no terminal has', '/create-connect?id=x&cols=5000', 400],
    ['a directory that is not there', '/create-connect?id=x&cwd=/no/where', 400],
  ])('a connection to %s is refused before it is one', async (_what, path, status) => {
    expect(await connect(`${base()}${path}`).failed).toBe(status);
    expect((await client.get(`${base()}/x`)).status).toBe(404);
  });

  test('needs a key, of the sandbox’s organization, that may write', async () => {
    expect(await connect(`${base()}/x/connect`, { key: 'dtn_wrong' }).failed).toBe(401);
    const stranger = await lab.server.addKey(await lab.server.addOrganization());
    expect(await connect(`${base()}/create-connect?id=x`, { key: stranger }).failed).toBe(404);
  });

  test.each([
    [{ id: 'a/b' }, 'The id of a PTY session'],
    [{ id: 'x', cols: -1 }, 'cols'],
    [{ id: 'x', cwd: '/no/where' }, '/no/where'],
    [{ id: 'x', envs: { 'A=': '1' } }, 'must not contain "="'],
  ])('%j creates nothing', async (body, message) => {
    const answer = await client.post(base(), body);
    expect(answer).toMatchObject({ status: 400, body: { message: expect.stringContaining(message) } });
    expect((await client.get(`${base()}/x`)).status).toBe(404);
  });

  test('is one of many, up to a limit', async () => {
    const { sessions } = (await client.get(base())).body;
    const living = sessions.filter((session: { active: boolean }) => session.active).length;
    const names = Array.from({ length: 64 - living }, (_, i) => `many-${i}`);
    const created = await Promise.all(names.map((name) => client.post(base(), { id: name, lazyStart: true })));
    expect(new Set(created.map(({ status }) => status))).toEqual(new Set([201]));
    expect(await client.post(base(), { id: 'over' })).toMatchObject({
      status: 409,
      body: { message: expect.stringContaining('at most 64 PTY sessions') },
    });
    await Promise.all(names.map((name) => client.delete(`${base()}/${name}`)));
    expect((await client.post(base(), { id: 'over' })).status).toBe(201);
    await client.delete(`${base()}/over`);
  });

  test('and its clients leave no descriptor of the server behind', async () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    await client.get(base());
    const before = descriptors();
    const names = Array.from({ length: 20 }, (_, i) => `leak-${i}`);
    const opened = await Promise.all(names.map((name) => open(name)));
    for (const [i, at] of opened.entries()) {
      if (i % 3 === 0) at.type('exit\n');
      else if (i % 3 === 1) await client.delete(`${base()}/${names[i]}`);
      else at.socket.terminate();
    }
    await Promise.all(opened.map((at) => at.closed));
    await Promise.all(names.map((name) => client.delete(`${base()}/${name}`)));
    expect((await client.get(base())).body.sessions).not.toContainEqual(expect.objectContaining({ active: true }));
    await expect.poll(descriptors, { timeout: 20_000 }).toBeLessThanOrEqual(before + 4);
  });
});
