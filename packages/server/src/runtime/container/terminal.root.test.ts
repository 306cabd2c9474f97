import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MIB, openLab, root, type SandboxLab } from '../testing/sandbox-lab.ts';
import type { TerminalProcess, TerminalSpec } from '../types.ts';

let lab: SandboxLab;
beforeAll(async () => {
  lab = await openLab();
  await lab.start('box', { env: { PS1: '$ ' } });
});
afterAll(() => lab?.close());

const ask = (changes: Partial<TerminalSpec> = {}): TerminalSpec => ({
  argv: ['/bin/sh'],
  env: { TERM: 'xterm' },
  cwd: '/',
  user: root,
  cols: 80,
  rows: 24,
  ...changes,
});

/** Collects what the terminal shows, and waits until it shows something. */
function watchScreen(terminal: TerminalProcess) {
  let text = '';
  let changed = Promise.withResolvers<void>();
  terminal.stream.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    changed.resolve();
    changed = Promise.withResolvers();
  });
  const ended = new Promise<void>((resolve) => terminal.stream.once('end', resolve));
  const closed = new Promise<void>((resolve) => terminal.stream.once('close', resolve));
  return {
    get text() {
      return text;
    },
    ended,
    closed,
    async shows(pattern: RegExp): Promise<RegExpExecArray> {
      for (;;) {
        const found = pattern.exec(text);
        if (found) {
          text = text.slice(found.index + found[0].length);
          return found;
        }
        if (terminal.stream.readableEnded) throw new Error(`ended with ${JSON.stringify(text)}`);
        await Promise.race([changed.promise, ended]);
      }
    },
  };
}

async function open(changes: Partial<TerminalSpec> & { setUp?: string } = {}, id = 'box') {
  const { setUp, ...spec } = changes;
  if (setUp !== undefined) await lab.sh(id, setUp);
  const terminal = await lab.runtime.openTerminal(id, ask(spec));
  return { terminal, screen: watchScreen(terminal) };
}

const processes = async () => (await lab.sh('box', 'ls -d /proc/[0-9]*')).stdout.split('\n').length;

describe('a terminal', () => {
  test('is the controlling terminal of its process, in the devpts of its sandbox, and its user has it', async () => {
    const user = { uid: 1000, gid: 1000, additionalGids: [], home: '/tmp', name: 'app' };
    const { terminal, screen } = await open({ user, cols: 101, rows: 33 });
    terminal.stream.write(
      'stty -echo; tty; stty size; stat -c %u $(tty); echo there > /dev/tty; echo again > $(tty)\n',
    );
    await screen.shows(/\/dev\/pts\/\d+\r\n33 101\r\n1000\r\nthere\r\nagain\r\n/);
    terminal.stream.write('exit 7\n');
    await screen.ended;
    expect(await terminal.exited).toEqual({ exitCode: 7, signal: undefined });
  });

  test('has job control: Ctrl-C ends and Ctrl-Z stops what is in the foreground, and the shell goes on', async () => {
    const { terminal, screen } = await open();
    terminal.stream.write('stty -echo; sh -c "echo first run""ning; exec sleep 1000"\n');
    await screen.shows(/first running/);
    terminal.stream.write('\x03');
    await screen.shows(/\$ /);
    terminal.stream.write('echo code=$?; sh -c "echo second running; exec sleep 2000"; echo stopped=$?\n');
    await screen.shows(/code=130\r\nsecond running/);
    terminal.stream.write('\x1a');
    await screen.shows(/stopped=148/);
    terminal.stream.write('jobs; kill %1; wait; echo done\n');
    await screen.shows(/Stopped[\s\S]*done/);
    terminal.stream.write('\x04');
    await screen.ended;
    expect(await terminal.exited).toMatchObject({ signal: undefined });
  });

  test('tells its program of a new size', async () => {
    const { terminal, screen } = await open({
      argv: ['/bin/sh', '-c', 'trap "stty size" WINCH; echo ready; while :; do sleep 0.05; done'],
    });
    await screen.shows(/ready/);
    terminal.resize({ cols: 132, rows: 43 });
    await screen.shows(/43 132/);
    await terminal.killTree();
    expect(await terminal.exited).toEqual({ exitCode: 137, signal: 'SIGKILL' });
    await screen.ended;
    terminal.resize({ cols: 1, rows: 1 });
  });

  test('ends with the signal of its process, and when there is no such program', async () => {
    const { terminal, screen } = await open({ argv: ['/bin/sh', '-c', 'kill -TERM $$'] });
    await screen.ended;
    expect(await terminal.exited).toEqual({ exitCode: 143, signal: 'SIGTERM' });
    const missing = await open({ argv: ['nosuch'] });
    await missing.screen.shows(/nosuch: command not found\r\n/);
    expect(await missing.terminal.exited).toEqual({ exitCode: 127, signal: undefined });
  });

  test('whose output nobody reads makes its program wait; then every byte of it comes', async () => {
    const total = 4 * MIB;
    const script = `stty raw -echo; head -c ${total} /dev/zero | tr '\\0' x; echo; echo END`;
    const terminal = await lab.runtime.openTerminal('box', ask({ argv: ['/bin/sh', '-c', script] }));
    const { stream } = terminal;
    await once(stream, 'readable');
    // As long as it is not read, no more than its buffers may come here.
    expect(stream.readableLength).toBeLessThan(256 * 1024);
    const ended = await Promise.race([terminal.exited.then(() => true), once(stream, 'readable').then(() => false)]);
    expect(ended).toBe(false);
    let received = 0;
    let tail = '';
    for await (const chunk of stream) {
      received += chunk.length;
      tail = (tail + chunk.toString('latin1')).slice(-5);
    }
    expect(received).toBe(total + '\nEND\n'.length);
    expect(tail).toBe('\nEND\n');
    expect(await terminal.exited).toEqual({ exitCode: 0, signal: undefined });
  });

  test('takes a large paste as fast as its program reads, and holds it back meanwhile without stopping the server', async () => {
    const { terminal, screen } = await open({
      argv: ['/bin/sh', '-c', 'stty raw -echo; echo ready; read -r line < /tmp/go; head -c 2000000 | md5sum'],
      setUp: 'mkfifo /tmp/go',
    });
    await screen.shows(/ready/);
    const paste = Buffer.alloc(2_000_000, 'abcdefghij');
    const written = new Promise<void>((resolve) => terminal.stream.write(paste, () => resolve()));
    // Another command runs while the paste cannot be taken.
    await lab.sh('box', 'echo now > /tmp/go');
    await written;
    await screen.shows(new RegExp(createHash('md5').update(paste).digest('hex')));
    await screen.ended;
  });

  test('hangs up when it is let go of: what is in its foreground ends', async () => {
    const { terminal, screen } = await open();
    terminal.stream.write('stty -echo; echo re""ady; sleep 3333\n');
    await screen.shows(/ready/);
    terminal.stream.destroy();
    await terminal.exited;
    expect((await lab.sh('box', 'ps')).stdout).not.toContain('sleep 3333');
  });

  test('is killed with all that it started, also what left its session', async () => {
    const { terminal, screen } = await open();
    terminal.stream.write(
      'stty -echo; setsid sleep 4444 & (setsid sh -c "sleep 4444 &" &) ; sleep 0.1; ps; echo re""ady\n',
    );
    await screen.shows(/sleep 4444[\s\S]*ready/);
    await terminal.killTree();
    expect((await lab.sh('box', 'ps')).stdout).not.toContain('sleep 4444');
    await screen.ended;
  });

  test('ends with its sandbox', async () => {
    await lab.start('short');
    const { terminal, screen } = await open({}, 'short');
    terminal.stream.write('stty -echo; echo re""ady\n');
    await screen.shows(/ready/);
    await lab.runtime.stop('short', { graceMs: 0 });
    await screen.ended;
    await terminal.exited.catch(() => {});
    await expect(lab.runtime.openTerminal('short', ask())).rejects.toMatchObject({ code: 'conflict' });
    await lab.runtime.remove('short');
  });

  test('cannot be opened through what a sandbox put in the place of its devices, and nothing hangs', async () => {
    await lab.start('odd');
    try {
      await lab.sh('odd', 'rm -f /dev/ptmx; mkfifo -m 666 /dev/ptmx');
      await expect(lab.runtime.openTerminal('odd', ask())).rejects.toMatchObject({ code: 'internal' });
    } finally {
      await lab.runtime.remove('odd');
    }
  });

  test('is one of twenty opened at once, and none leaves a descriptor, a process or a file behind', async () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = { descriptors: descriptors(), files: readdirSync(lab.runDir), processes: await processes() };
    const opened = await Promise.all(Array.from({ length: 20 }, () => open()));
    const names = await Promise.all(
      opened.map(async ({ terminal, screen }) => {
        terminal.stream.write('stty -echo; tty\n');
        const [name] = await screen.shows(/\/dev\/pts\/\d+/);
        return name;
      }),
    );
    expect(new Set(names).size).toBe(20);
    for (const { terminal } of opened) terminal.stream.write('exit\n');
    await Promise.all(
      opened.map(({ screen, terminal }) => Promise.all([screen.ended, screen.closed, terminal.exited])),
    );
    expect(readdirSync(lab.runDir)).toEqual(before.files);
    expect(await processes()).toBe(before.processes);
    await expect.poll(descriptors).toBeLessThanOrEqual(before.descriptors);
  });
});
