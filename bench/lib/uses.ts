import { Daytona, type Sandbox } from '@daytona/sdk';
import { run } from '../../packages/server/src/platform/process.ts';
import type { Darkroom } from '../../test/support/darkroom.ts';

type Use = (sandbox: Sandbox) => Promise<void>;

export interface Uses {
  /** Creates a sandbox, uses it in a few of the ways (others for the next index), and deletes it. */
  liveOne(index: number): Promise<void>;
  /** How often each way was gone to its end. */
  counts(): Record<string, number>;
}

const WAYS_EACH = 4;

/** Every way of using a sandbox, by the official SDK. */
export function createUses(darkroom: Darkroom, snapshot: string): Uses {
  const daytona = new Daytona({ apiKey: darkroom.apiKey, apiUrl: `${darkroom.url}/api` });
  const ways = Object.entries(waysOf(daytona));
  const counts = Object.fromEntries(ways.map(([name]) => [name, 0]));
  return {
    async liveOne(index) {
      const sandbox = await daytona.create({ snapshot });
      try {
        for (let step = 0; step < WAYS_EACH; step++) {
          const way = ways[(index * WAYS_EACH + step) % ways.length];
          if (way === undefined) continue;
          const [name, use] = way;
          try {
            await use(sandbox);
          } catch (error) {
            throw new Error(`${name}: ${error instanceof Error ? error.message : error}`, { cause: error });
          }
          counts[name] = (counts[name] ?? 0) + 1;
        }
      } finally {
        await sandbox.delete();
      }
    },
    counts: () => counts,
  };
}

function waysOf(daytona: Daytona): Record<string, Use> {
  return {
    async command({ process }) {
      same((await process.executeCommand('echo $((6 * 7))')).result.trim(), '42');
    },
    async code({ process }) {
      same((await process.codeRun('print(sum(range(10)))')).result.trim(), '45');
    },
    async 'command that is cut off'({ process }) {
      const cut = await process.executeCommand('sleep 60', undefined, undefined, 1).catch(() => 'cut');
      same(cut, 'cut');
    },
    async session({ process }) {
      await process.createSession('work');
      await process.executeSessionCommand('work', { command: 'cd /tmp && export WORD=kept' });
      const { stdout } = await process.executeSessionCommand('work', { command: 'echo $WORD $PWD' });
      same(stdout?.trim(), 'kept /tmp');
      const { cmdId } = await process.executeSessionCommand('work', {
        command: 'for i in 1 2 3; do echo $i; done',
        runAsync: true,
      });
      let out = '';
      await process.getSessionCommandLogs(
        'work',
        cmdId ?? '',
        (text) => {
          out += text;
        },
        () => {},
      );
      same(out.replaceAll('\n', ''), '123');
      // One is left running: deleting the sandbox must take it along.
      await process.executeSessionCommand('work', { command: 'sleep 600', runAsync: true });
    },
    async terminal({ process }) {
      let text = '';
      const pty = await process.createPty({
        id: 'tty',
        cols: 80,
        rows: 24,
        onData: (bytes: Uint8Array) => {
          text += Buffer.from(bytes).toString();
        },
      });
      await pty.waitForConnection();
      await pty.resize(120, 40);
      await pty.sendInput('stty size; exit 3\n');
      same((await pty.wait()).exitCode, 3);
      same(text.includes('40 120'), true);
      await pty.disconnect();
    },
    async interpreter({ codeInterpreter }) {
      await codeInterpreter.runCode('x = 20');
      same((await codeInterpreter.runCode('print(x + 1)')).stdout.trim(), '21');
    },
    async files({ fs }) {
      const content = Buffer.alloc(256 * 1024, 'content ');
      await fs.createFolder('box/in', '755');
      await fs.uploadFiles([
        { source: content, destination: 'box/in/a.txt' },
        { source: Buffer.from('needle'), destination: 'box/b.txt' },
      ]);
      same((await fs.downloadFile('box/in/a.txt')).equals(content), true);
      same((await fs.findFiles('box', 'needle')).length, 1);
      same((await fs.searchFiles('box', '*.txt')).files.length, 2);
      await fs.replaceInFiles(['box/b.txt'], 'needle', 'pin');
      await fs.moveFiles('box/b.txt', 'box/c.txt');
      await fs.setFilePermissions('box/c.txt', { mode: '600' });
      same((await fs.getFileDetails('box/c.txt')).permissions, '0600');
      await fs.deleteFile('box', true);
    },
    async preview(sandbox) {
      await sandbox.process.createSession('server');
      await sandbox.process.executeSessionCommand('server', {
        command: 'echo served > /tmp/index.html; exec python3 -m http.server 8000 --bind 127.0.0.1 --directory /tmp',
        runAsync: true,
      });
      const { url, token } = await sandbox.getPreviewLink(8000);
      const answer = await untilServed(url, token);
      same(answer.trim(), 'served');
    },
    async ssh(sandbox) {
      const { sshCommand, token } = await sandbox.createSshAccess(5);
      const port = /-p (\d+)/.exec(sshCommand)?.[1] ?? '22';
      const options = ['-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR'];
      const done = await run('ssh', [...options, '-p', port, `${token}@127.0.0.1`, 'echo over ssh'], {
        timeoutMs: 30_000,
      });
      same(done.stdout.trim(), 'over ssh');
      await sandbox.revokeSshAccess(token);
    },
    async 'pause and resume'(sandbox) {
      await sandbox.pause();
      await sandbox.start();
      same((await sandbox.process.executeCommand('echo again')).result.trim(), 'again');
    },
    async 'stop and start'(sandbox) {
      await sandbox.process.executeCommand('echo kept > /root/kept');
      await sandbox.stop();
      await sandbox.start();
      same((await sandbox.process.executeCommand('cat /root/kept')).result.trim(), 'kept');
    },
    async capture(sandbox) {
      const name = `capture-${sandbox.id}`;
      await sandbox.process.executeCommand('echo prepared > /root/prepared');
      await sandbox.createSnapshot(name);
      const copy = await daytona.create({ snapshot: name });
      try {
        same((await copy.process.executeCommand('cat /root/prepared')).result.trim(), 'prepared');
      } finally {
        await copy.delete();
        await daytona.snapshot.delete(await daytona.snapshot.get(name));
      }
    },
    async fork(sandbox) {
      await sandbox.process.executeCommand('echo shared > /root/shared');
      const fork = await sandbox.fork({});
      try {
        same((await fork.process.executeCommand('cat /root/shared')).result.trim(), 'shared');
      } finally {
        await fork.delete();
      }
    },
    async resize(sandbox) {
      await sandbox.resize({ cpu: 2, memory: 2 });
      same(sandbox.cpu, 2);
    },
    async 'network settings'(sandbox) {
      await sandbox.updateNetworkSettings({ networkBlockAll: true });
      await sandbox.updateNetworkSettings({ networkBlockAll: false });
    },
    async 'labels and intervals'(sandbox) {
      await sandbox.setLabels({ soak: 'yes' });
      await sandbox.setAutostopInterval(30);
      await sandbox.setAutoDeleteInterval(60);
    },
  };
}

/** The program in the sandbox needs a moment to listen. */
async function untilServed(url: string, token: string): Promise<string> {
  const target = new URL(url);
  // Names below localhost are loopback, which not every resolver knows.
  const host = target.host;
  if (target.hostname.endsWith('.localhost')) target.hostname = '127.0.0.1';
  for (let tries = 0; ; tries++) {
    const result = await run(
      'curl',
      ['-sS', '-f', '-H', `Host: ${host}`, '-H', `x-daytona-preview-token: ${token}`, target.href],
      { timeoutMs: 20_000, okCodes: [0, 22] },
    );
    if (result.exitCode === 0) return result.stdout;
    if (tries > 60) throw new Error(`the preview of ${url} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function same<T>(got: T, wanted: T): void {
  if (got !== wanted) throw new Error(`got ${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
}
