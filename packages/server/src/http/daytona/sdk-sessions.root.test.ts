import * as newest from '@daytona/sdk';
import * as v0190 from 'daytona-sdk-0190';
import * as legacy from 'daytona-sdk-legacy';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addBash, fillWithBusybox, shiftOwners } from '../../test-support/root-file-system.ts';
import { startTestServer, TEST_ID_BASE, type TestServer } from '../../test-support/test-server.ts';

let server: TestServer;
let apiKey: string;

beforeAll(async () => {
  server = await startTestServer();
  const organizationId = await server.addOrganization();
  apiKey = await server.addKey(organizationId);
  const layer = {
    name: 'bash',
    async fill(directory: string) {
      await fillWithBusybox(directory);
      await addBash(directory);
      await shiftOwners(directory, TEST_ID_BASE);
    },
  };
  const image = JSON.stringify({ cmd: ['sh', '-c', 'echo serving; echo problem >&2; sleep 1; echo done'] });
  await server.addSnapshot(organizationId, layer, { name: 'default', image });
}, 120_000);
afterAll(() => server?.stop());

/** Unmodified, as their users run them. */
const clients = [
  ['@daytonaio/sdk 0.190', () => new v0190.Daytona({ apiKey, apiUrl: `${server.url}/api` })],
  ['@daytonaio/sdk newest', () => new legacy.Daytona({ apiKey, apiUrl: `${server.url}/api` })],
  ['@daytona/sdk newest', () => new newest.Daytona({ apiKey, apiUrl: `${server.url}/api` })],
] as const;

describe.each(clients)('%s', (_name, connect) => {
  test('keeps a shell between commands', async () => {
    const sandbox = await connect().create();
    const { process } = sandbox;
    await process.createSession('work');
    await expect(process.createSession('work')).rejects.toThrow('already exists');
    await process.executeSessionCommand('work', { command: 'cd /tmp; export A=1' });
    const ran = await process.executeSessionCommand('work', { command: 'pwd; echo $A; echo err >&2; (exit 3)' });
    expect(ran).toMatchObject({ exitCode: 3, stdout: '/tmp\n1\n', stderr: 'err\n' });
    expect(ran.output).toHaveLength('/tmp\n1\nerr\n'.length);
    const session = await process.getSession('work');
    expect(session).toMatchObject({ sessionId: 'work', commands: [{ exitCode: 0 }, { id: ran.cmdId, exitCode: 3 }] });
    expect((await process.listSessions()).map(({ sessionId }) => sessionId)).toEqual(['work']);
    expect(await process.getSessionCommandLogs('work', ran.cmdId)).toMatchObject({
      stdout: '/tmp\n1\n',
      stderr: 'err\n',
    });
    await process.deleteSession('work');
    await expect(process.getSession('work')).rejects.toMatchObject({ statusCode: 404 });
    await sandbox.delete();
  });

  test('follows a command that it sends input to', async () => {
    const sandbox = await connect().create();
    const { process } = sandbox;
    await process.createSession('ask');
    const command =
      'echo "name? ü"; read name; echo "hello $name"; echo bad >&2; head -c 300000 /dev/zero | tr "\\0" x';
    const { cmdId } = await process.executeSessionCommand('ask', { command, runAsync: true });
    expect((await process.getSessionCommand('ask', cmdId)).exitCode ?? undefined).toBeUndefined();
    const heard = { stdout: '', stderr: '' };
    let answered: Promise<void> | undefined;
    await process.getSessionCommandLogs(
      'ask',
      cmdId,
      (text: string) => {
        heard.stdout += text;
        answered ??= process.sendSessionCommandInput('ask', cmdId, 'you');
      },
      (text: string) => {
        heard.stderr += text;
      },
    );
    await answered;
    expect(heard.stdout).toBe(`name? ü\nhello you\n${'x'.repeat(300_000)}`);
    expect(heard.stderr).toBe('bad\n');
    expect((await process.getSessionCommand('ask', cmdId)).exitCode).toBe(0);
    await sandbox.delete();
  });

  test('reads and follows the entry point', async () => {
    const sandbox = await connect().create();
    const { process } = sandbox;
    let heard = '';
    const hear = (text: string) => {
      heard += text;
    };
    await process.getEntrypointLogs(hear, hear);
    expect(heard).toBe('serving\nproblem\ndone\n');
    expect((await process.getEntrypointSession()).commands[0]).toMatchObject({ exitCode: 0 });
    expect((await process.getEntrypointLogs()).output).toBe(heard);
    await sandbox.delete();
  });
});
