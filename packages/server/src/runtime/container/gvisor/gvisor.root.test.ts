import { once } from 'node:events';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addPython, shiftOwners } from '../../../test-support/root-file-system.ts';
import { finish, ID_BASE, MIB, openLab, root, type SandboxLab, shell } from '../../testing/sandbox-lab.ts';
import { gvisorForTests } from './testing.ts';

const gvisor = await gvisorForTests();

/** Two servers that say on which address they listen. */
const SERVERS = `
import select, socket
servers = [socket.create_server(at) for at in (('0.0.0.0', 81), ('127.0.0.1', 82))]
while True:
    for server in select.select(servers, [], [])[0]:
        connection = server.accept()[0]
        connection.sendall(('%s:%s' % connection.getsockname()).encode())
        connection.close()
`;

describe.skipIf('missing' in gvisor)(
  `sandboxes under gVisor ${'missing' in gvisor ? `(${gvisor.missing})` : ''}`,
  () => {
    let lab: SandboxLab;
    const start = (id: string, changes: Parameters<SandboxLab['spec']>[1] = {}) =>
      lab.start(id, { sandboxClass: 'gvisor', ...changes });

    beforeAll(async () => {
      lab = await openLab(undefined, 'program' in gvisor ? { gvisor: gvisor.program, imageBytes: 512 * MIB } : {});
      await addPython(lab.baseLayer);
      await shiftOwners(lab.baseLayer, ID_BASE);
      await start('one');
      await lab.sh('one', `python3 -c "${SERVERS}" > /dev/null 2>&1 &`);
    }, 60_000);
    afterAll(() => lab?.close());

    test('see gVisor, not the machine', async () => {
      const { stdout } = await lab.sh('one', 'dmesg; id -u; hostname; cat /etc/hostname');
      expect(stdout).toContain('Starting gVisor');
      expect(stdout).toMatch(/\n0\none\none\n$/);
    });

    test('give back what a command read, wrote and ended with', async () => {
      const process = await lab.runtime.exec('one', shell('cat; echo to-stderr >&2; exit 7'));
      process.stdin.end('from stdin');
      const [stdout, stderr, end] = await Promise.all([buffer(process.stdout), buffer(process.stderr), process.exited]);
      expect(stdout.toString()).toBe('from stdin');
      expect(stderr.toString()).toBe('to-stderr\n');
      expect(end).toEqual({ exitCode: 7, signal: undefined });
      expect(await lab.sh('one', 'kill -9 $$')).toMatchObject({ exitCode: 137, signal: 'SIGKILL' });
      expect(await finish(lab.runtime, 'one', { ...shell(''), argv: ['/nope'] })).toMatchObject({ exitCode: 127 });
    });

    test('end a command with all that it started, also what left its session', async () => {
      const script = 'setsid sleep 4001 & (setsid sh -c "sleep 4001 &" &); sleep 0.1; echo ready; sleep 4001';
      const process = await lab.runtime.exec('one', shell(script));
      await once(process.stdout, 'data');
      await process.killTree();
      expect(await process.exited).toEqual({ exitCode: 137, signal: 'SIGKILL' });
      expect((await lab.sh('one', 'ps -o args')).stdout).not.toContain('sleep 4001');
    });

    test('and the host see the same files, each as soon as the other wrote them', async () => {
      const files = lab.runtime.files('one');
      await lab.sh('one', 'echo inside > /root/a; chown 1000:1000 /root/a');
      const { stat, stream } = await files.read('/root/a');
      expect([stat.uid, await text(stream)]).toEqual([1000, 'inside\n']);
      await files.write('/root/a', Readable.from([Buffer.from('outside')]), { uid: 0, gid: 0 });
      await files.write('/root/b', Readable.from([Buffer.from('new')]), { uid: 5, gid: 6 });
      expect((await lab.sh('one', 'cat /root/a /root/b; stat -c %u:%g /root/b')).stdout).toBe('outsidenew5:6\n');
    });

    test('have files in /proc, /sys and /dev that nothing from outside writes', async () => {
      const files = lab.runtime.files('one');
      for (const path of ['/proc/mine', '/sys/mine', '/dev/mine', '/dev/shm/mine']) {
        const write = files.write(path, Readable.from([Buffer.from('x')]), { uid: 0, gid: 0 });
        await expect(write).rejects.toMatchObject({ name: 'DarkroomError' });
      }
      expect((await lab.sh('one', 'echo x > /dev/null && ls /proc/self/status /sys')).exitCode).toBe(0);
    });

    test('are reached at their own address and on loopback, and say where nothing listens', async () => {
      await expect.poll(() => lab.runtime.listeningPorts('one'), { timeout: 10_000 }).toEqual([81, 82]);
      const answer = async (port: number) => {
        const socket = await lab.runtime.connect('one', port);
        try {
          return await text(socket);
        } finally {
          socket.destroy();
        }
      };
      expect(await answer(81)).toMatch(/^10[.].*:81$/);
      expect(await answer(82)).toBe('127.0.0.1:82');
      await expect(lab.runtime.connect('one', 83)).rejects.toMatchObject({ code: 'not_found' });
    });

    test('have a network that is guarded like any other', async () => {
      await Promise.all([
        start('two', { network: { blockAll: true } }),
        lab.start('plain', { sandboxClass: 'container' }),
      ]);
      const address = async (id: string) =>
        /inet (10[\d.]+)/.exec((await lab.sh(id, 'ip addr show eth0')).stdout)?.[1] ?? '';
      const [one, two, plain] = await Promise.all(['one', 'two', 'plain'].map(address));
      const reach = (from: string) => lab.sh(from, `nc -w 1 ${one} 81 < /dev/null`);
      expect((await reach('one')).stdout).toBe(`${one}:81`);
      for (const from of ['two', 'plain']) expect((await reach(from)).exitCode).not.toBe(0);
      expect(two).not.toBe(plain);
      expect((await lab.sh('two', 'ping -c 1 -W 1 127.0.0.1')).exitCode).not.toBe(0);
    });

    test('stop as asked: what listens to SIGTERM ends by itself, and files stay', async () => {
      await start('stops');
      const script = 'trap "echo bye > /root/bye; exit" TERM; echo ready; while :; do sleep 0.05; done';
      const process = await lab.runtime.exec('stops', shell(script));
      await once(process.stdout, 'data');
      await lab.runtime.stop('stops', { graceMs: 10_000 });
      await process.exited.catch(() => {});
      await start('stops');
      expect((await lab.sh('stops', 'cat /root/bye')).stdout).toBe('bye\n');
      await lab.runtime.remove('stops');
      expect((await lab.runtime.list()).map(({ id }) => id)).not.toContain('stops');
    });

    test('stand still while they are paused, and go on', async () => {
      await lab.sh('one', '(while :; do date +%s%N > /root/tick; sleep 0.02; done) > /dev/null 2>&1 &');
      const tick = async () => text((await lab.runtime.files('one').read('/root/tick')).stream);
      await expect.poll(tick).not.toBe('');
      await lab.runtime.pause('one');
      const paused = await tick();
      await expect(lab.sh('one', 'true')).rejects.toMatchObject({ code: 'conflict' });
      expect(await tick()).toBe(paused);
      await lab.runtime.resume('one');
      await expect.poll(tick).not.toBe(paused);
    });

    test('say what they use, and end alone when they use more memory than they have', async () => {
      await start('eats', { limits: { cpu: 1, memoryBytes: 128 * MIB, pids: 64, diskBytes: 64 * MIB } });
      const { promise, resolve } = Promise.withResolvers<string>();
      lab.runtime.onExit(({ id, reason }) => resolve(`${id} ${reason}`));
      const usage = await lab.runtime.usage('eats');
      expect(usage.run?.memoryLimitBytes).toBe(128 * MIB);
      expect(usage.disk?.totalBytes).toBeGreaterThan(32 * MIB);
      expect((await lab.sh('eats', 'head -c 100000000 /dev/zero > /root/full')).exitCode).not.toBe(0);
      lab.sh('eats', 'head -c 300000000 /dev/zero | tail -c 290000000 | wc -c').catch(() => {});
      expect(await promise).toBe('eats out of memory');
      expect((await lab.sh('one', 'echo alive')).stdout).toBe('alive\n');
      await lab.runtime.remove('eats');
    });

    test('have terminals of their own', async () => {
      const spec = { argv: ['/bin/sh'], env: { PS1: '$ ' }, cwd: '/', user: root, cols: 101, rows: 33 };
      const terminal = await lab.runtime.openTerminal('one', spec);
      let shown = '';
      terminal.stream.on('data', (chunk: Buffer) => {
        shown += chunk.toString('latin1');
      });
      const shows = (pattern: RegExp) => expect.poll(() => shown, { timeout: 10_000 }).toMatch(pattern);
      terminal.stream.write('stty -echo; stty size; echo first run""ning; sleep 4002\n');
      await shows(/33 101\r\nfirst running/);
      terminal.stream.write('\x03');
      await shows(/running[\s\S]*\$ /);
      terminal.stream.write('echo code=$?\n');
      await shows(/code=130/);
      terminal.resize({ cols: 120, rows: 40 });
      terminal.stream.write('stty size; exit 5\n');
      await shows(/40 120/);
      expect(await terminal.exited).toEqual({ exitCode: 5, signal: undefined });
    });
  },
);
