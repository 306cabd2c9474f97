import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, inject, test } from 'vitest';
import WebSocket from 'ws';
import { type Darkroom, jsonOf, startDarkroom } from '../support/darkroom.ts';
import { eventually } from '../support/eventually.ts';
import { litterOf } from '../support/litter.ts';
import { type SlowProxy, startSlowProxy } from '../support/slow-proxy.ts';

/** kill -9 of the server, then a restart: everything is either complete or cleanly ended, and nothing is left over. */
const FAST = 2 ** 30;
let darkroom: Darkroom;
let proxy: SlowProxy;

beforeEach(async () => {
  proxy = await startSlowProxy(inject('registryUrl'), FAST);
  darkroom = await startDarkroom({ config: { registries: { mirrors: { 'docker.io': [proxy.url] } } } });
});

afterEach(async () => {
  await darkroom?.destroy();
  await proxy?.close();
});

interface Named {
  id: string;
  name: string;
  state: string;
  errorReason: string | null;
}

const get = (path: string) => jsonOf<Named>(darkroom.api(path));
const create = (name: string) =>
  darkroom.api('/snapshots', { method: 'POST', body: { name, imageName: inject('baseImage') } });

async function ended(name: string): Promise<Named> {
  return eventually(`snapshot ${name} ends`, async () => {
    const snapshot = await get(`/snapshots/${name}`);
    return ['active', 'error'].includes(snapshot.state) ? snapshot : undefined;
  });
}

async function run(id: string, command: string): Promise<{ exitCode: number; result: string }> {
  const answer = await fetch(`${darkroom.url}/toolbox/${id}/process/execute`, {
    method: 'POST',
    headers: { authorization: `Bearer ${darkroom.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ command }),
  });
  if (answer.status !== 200) throw new Error(`${answer.status} ${await answer.text()}`);
  return jsonOf(answer);
}

/** Says one thing over a WebSocket of the toolbox; what it resolves to resolves when the connection is closed. */
async function webSocket(id: string, path: string, message: string | Buffer): Promise<{ closed: Promise<unknown> }> {
  const socket = new WebSocket(`${darkroom.url.replace('http', 'ws')}/toolbox/${id}/process/${path}`, {
    headers: { authorization: `Bearer ${darkroom.apiKey}` },
  });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, 'open');
  socket.on('error', () => {});
  socket.send(message);
  return { closed };
}

describe('kill -9 during a pull', () => {
  test('the snapshot becomes active after the restart, and its sandboxes run', async () => {
    proxy.setRate(20 * 2 ** 20);
    expect((await create('cut')).status).toBe(200);
    await proxy.untilPassed(30 * 2 ** 20);
    await darkroom.kill();
    proxy.setRate(FAST);
    await darkroom.restart();
    expect(await ended('cut')).toMatchObject({ state: 'active', errorReason: null });
    const sandbox = await jsonOf<Named>(darkroom.api('/sandbox', { method: 'POST', body: { snapshot: 'cut' } }));
    expect(await run(sandbox.id, 'python3 -c "print(6*7)"')).toMatchObject({ exitCode: 0, result: '42\n' });
  });

  test('a snapshot that was deleted meanwhile stays deleted', async () => {
    proxy.setRate(20 * 2 ** 20);
    const snapshot = await jsonOf<Named>(create('gone'));
    await proxy.untilPassed(10 * 2 ** 20);
    expect((await darkroom.api(`/snapshots/${snapshot.id}`, { method: 'DELETE' })).status).toBe(200);
    await darkroom.kill();
    await darkroom.restart();
    expect((await darkroom.api('/snapshots/gone')).status).toBe(404);
    expect((await create('gone')).status).toBe(200);
  });
});

describe('kill -9 in the middle of commands', () => {
  test('commands and sessions of the killed server are ended, what was left in the background goes on', async () => {
    await create('base');
    expect(await ended('base')).toMatchObject({ state: 'active' });
    const { id } = await jsonOf<Named>(darkroom.api('/sandbox', { method: 'POST', body: { snapshot: 'base' } }));
    const post = (path: string, body: object) =>
      fetch(`${darkroom.url}/toolbox/${id}/process/${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${darkroom.apiKey}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    const sleeping = async (seconds: string) =>
      Number((await run(id, `grep -lsz '^${seconds}$' /proc/[0-9]*/cmdline | wc -l`)).result);

    for (const sessionId of ['busy', 'idle']) expect((await post('session', { sessionId })).status).toBe(201);
    await post('session/busy/exec', { command: 'setsid sleep 6001 & sleep 6001', runAsync: true });
    await post('session/idle/exec', { command: 'setsid sleep 6001 &' });
    const cut = post('execute', { command: 'sleep 6001' }).catch(() => undefined);
    expect((await post('pty', { id: 'open' })).status).toBe(201);
    const typing = await webSocket(id, 'pty/open/connect', Buffer.from('sleep 6001\n'));
    const running = await webSocket(
      id,
      'interpreter/execute',
      '{"code": "import os; os.system(\\"sleep 6001; true\\")"}',
    );
    await run(id, 'sleep 6002 > /dev/null 2>&1 &');
    await eventually('all run', async () => ((await sleeping('6001')) === 6 ? true : undefined));
    await darkroom.kill();
    await Promise.all([cut, typing.closed, running.closed]);
    await darkroom.restart();
    expect([await sleeping('6001'), await sleeping('6002')]).toEqual([0, 1]);
    const getProcess = (path: string) =>
      fetch(`${darkroom.url}/toolbox/${id}/process/${path}`, {
        headers: { authorization: `Bearer ${darkroom.apiKey}` },
      });
    expect(await jsonOf(getProcess('session'))).toEqual([]);
    expect(await jsonOf(getProcess('pty'))).toEqual({ sessions: [] });
  });
});

describe('kill -9 during 50 sandbox starts', () => {
  test('what was acknowledged runs, the rest ended with a reason, nothing is left over', async () => {
    await create('base');
    expect(await ended('base')).toMatchObject({ state: 'active' });

    const acknowledged: string[] = [];
    const starts = Array.from({ length: 50 }, async () => {
      const answer = await darkroom.api('/sandbox', { method: 'POST', body: { snapshot: 'base' } });
      if (answer.status === 200) acknowledged.push((await jsonOf<Named>(answer)).id);
      if (acknowledged.length === 12) await darkroom.kill();
    });
    await Promise.allSettled(starts);
    expect(acknowledged.length).toBeGreaterThanOrEqual(12);
    await darkroom.restart();

    const { items } = await jsonOf<{ items: Named[] }>(darkroom.api('/sandbox?limit=200'));
    const running = items.filter((item) => item.state === 'started').map((item) => item.id);
    expect(running).toEqual(expect.arrayContaining(acknowledged));
    for (const item of items)
      if (item.state !== 'started') expect(item).toMatchObject({ state: 'error', errorReason: expect.any(String) });
    for (const id of running) expect(await run(id, 'echo alive')).toMatchObject({ result: 'alive\n' });

    // One pid 1 for each sandbox that runs, and no other process of a container.
    const { contained } = await litterOf(darkroom.stateDir);
    expect(contained).toHaveLength(running.length);

    for (const { id } of items) await darkroom.api(`/sandbox/${id}`, { method: 'DELETE' });
    await eventually('all sandboxes are gone from the machine', async () => {
      const left = await litterOf(darkroom.stateDir);
      return left.contained.length + left.cgroups.length === 0 ? true : undefined;
    });
    await darkroom.stop();
    expect(await litterOf(darkroom.stateDir)).toEqual({
      mounts: [],
      contained: [],
      helpers: [],
      interfaces: [],
      cgroups: [],
    });
  });
});

describe('SIGTERM', () => {
  test('leaves sandboxes running, and a restart finds them', async () => {
    await create('base');
    await ended('base');
    const sandbox = await jsonOf<Named>(darkroom.api('/sandbox', { method: 'POST', body: { snapshot: 'base' } }));
    await run(sandbox.id, 'echo $$ > /tmp/mark; nohup sleep 600 >/dev/null 2>&1 &');
    await darkroom.stop();
    expect((await litterOf(darkroom.stateDir)).contained.some((line) => line.includes('sleep 600'))).toBe(true);
    await darkroom.restart();
    expect((await get(`/sandbox/${sandbox.id}`)).state).toBe('started');
    expect((await run(sandbox.id, 'cat /proc/[0-9]*/cmdline | tr "\\0" " "')).result).toContain('sleep 600');
  });
});
