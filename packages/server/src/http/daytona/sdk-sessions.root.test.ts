import { describe, expect, test } from 'vitest';
import { bash } from '../../test-support/layers.ts';
import { officialClients } from '../../test-support/official-clients.ts';
import { setUpServer } from '../../test-support/set-up-server.ts';

const image = JSON.stringify({ cmd: ['sh', '-c', 'echo serving; echo problem >&2; sleep 1; echo done'] });
const lab = setUpServer({ layer: bash, values: { image } });
const { clients } = officialClients(lab);

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
