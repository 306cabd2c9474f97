import type { Sandbox } from '@daytona/sdk';
import { beforeAll, describe, expect, test } from 'vitest';
import { gvisorForTests } from '../../runtime/container/gvisor/testing.ts';
import { python } from '../../test-support/layers.ts';
import { officialClients } from '../../test-support/official-clients.ts';
import { setUpServer } from '../../test-support/set-up-server.ts';

const gvisor = await gvisorForTests();

/** One on all addresses, one on loopback alone. */
const SERVERS = `
import select, socket
servers = [socket.create_server(at) for at in (('0.0.0.0', 8000), ('127.0.0.1', 8001))]
while True:
    for server in select.select(servers, [], [])[0]:
        connection = server.accept()[0]
        connection.recv(65536)
        connection.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\nConnection: close\\r\\n\\r\\nserved')
        connection.close()
`;

describe.skipIf('missing' in gvisor)(
  `gVisor through @daytona/sdk ${'missing' in gvisor ? `(${gvisor.missing})` : ''}`,
  () => {
    const lab = setUpServer({
      ...('program' in gvisor ? { gvisor: gvisor.program, preview: { urls: 'path' } } : {}),
      layer: python,
      values: { sandbox_class: 'gvisor' },
    });
    const { connectNewest } = officialClients(lab);
    let sandbox: Sandbox;
    beforeAll(async () => {
      sandbox = await connectNewest().create({ snapshot: lab.snapshot });
    }, 120_000);

    test('a sandbox of a snapshot with that class says so, and runs on gVisor’s kernel', async () => {
      const row = await lab.server.db
        .selectFrom('sandboxes')
        .selectAll()
        .where('id', '=', sandbox.id)
        .executeTakeFirstOrThrow();
      expect(row.image).toMatchObject({ sandboxClass: 'gvisor' });
      expect((await sandbox.process.executeCommand('dmesg')).result).toContain('Starting gVisor');
    });

    test('code, sessions with input, and terminals', async () => {
      expect((await sandbox.process.codeRun('print(6 * 7)')).result.trim()).toBe('42');
      await sandbox.process.createSession('s');
      await sandbox.process.executeSessionCommand('s', { command: 'export A=1; cd /root' });
      expect(
        await sandbox.process.executeSessionCommand('s', {
          command: 'echo $A; pwd; exit_code() { return 3; }; exit_code',
        }),
      ).toMatchObject({
        stdout: '1\n/root\n',
        exitCode: 3,
      });
      const asked = await sandbox.process.executeSessionCommand('s', {
        command: 'read line; echo "got $line"',
        runAsync: true,
      });
      await sandbox.process.sendSessionCommandInput('s', asked.cmdId, 'words\n');
      const logs = () => sandbox.process.getSessionCommandLogs('s', asked.cmdId);
      await expect.poll(async () => (await logs()).stdout, { timeout: 10_000 }).toContain('got words');
      await sandbox.process.deleteSession('s');

      let shown = '';
      const pty = await sandbox.process.createPty({
        id: 'p',
        onData: (data) => {
          shown += Buffer.from(data).toString();
        },
      });
      await pty.waitForConnection();
      await pty.sendInput('echo te""rminal; exit 4\n');
      expect((await pty.wait()).exitCode).toBe(4);
      expect(shown).toContain('terminal');
    });

    test('files up and down, and previews of servers on any address', async () => {
      await sandbox.fs.uploadFile(Buffer.from('content'), '/root/up');
      expect((await sandbox.process.executeCommand('cat /root/up; echo more >> /root/up')).result).toBe('content');
      expect((await sandbox.fs.downloadFile('/root/up')).toString()).toBe('contentmore\n');
      await sandbox.process.executeCommand(`python3 -c "${SERVERS}" > /dev/null 2>&1 &`);
      for (const port of [8000, 8001]) {
        const { url, token } = await sandbox.getPreviewLink(port);
        const get = async () => (await fetch(url, { headers: { 'x-daytona-preview-token': token ?? '' } })).text();
        await expect.poll(get, { timeout: 10_000 }).toBe('served');
      }
    });

    test('stop, start and a restart of the server', async () => {
      await sandbox.stop();
      await sandbox.start();
      await lab.server.restart();
      const again = await connectNewest().get(sandbox.id);
      expect((await again.process.executeCommand('cat /root/up')).result).toBe('contentmore\n');
      await again.delete();
    });
  },
);
