import { describe, expect, test } from 'vitest';
import { run } from '../../platform/process.ts';
import { type GitServer, gitLayer, startGitServer } from '../../test-support/git-lab.ts';
import { officialClients } from '../../test-support/official-clients.ts';
import { setUpServer } from '../../test-support/set-up-server.ts';

const lab = setUpServer({ layer: gitLayer });
const { clients, newer } = officialClients(lab);

const LOGIN = { username: 'somebody', password: 'a-token' };

/** With a server of repositories inside. */
async function startServing(sandboxId: string): Promise<GitServer> {
  const served = await startGitServer(lab.client, sandboxId, LOGIN);
  await lab.client.post(`/toolbox/${sandboxId}/process/execute`, { command: `touch ${served.go}` });
  return served;
}

describe.each(clients)('%s', (_name, connect) => {
  test('makes, checks and revokes access by SSH', async () => {
    const sandbox = await connect().create();
    const access = await sandbox.createSshAccess(10);
    expect(access).toMatchObject({ sandboxId: sandbox.id, token: expect.stringMatching(/^[0-9a-f]{48}$/) });
    expect(new Date(access.expiresAt).getTime()).toBeGreaterThan(Date.now());
    expect(await sandbox.validateSshAccess(access.token)).toMatchObject({ valid: true, sandboxId: sandbox.id });
    const [program = '', ...args] = access.sshCommand.split(' ');
    const unknown = ['-F', 'none', '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null'];
    const quiet = ['-o', 'LogLevel=ERROR', '-o', 'BatchMode=yes'];
    const { stdout } = await run(program, [...unknown, ...quiet, ...args, 'id -un'], { timeoutMs: 20_000 });
    expect(stdout).toBe('root\n');
    await sandbox.revokeSshAccess(access.token);
    expect((await sandbox.validateSshAccess(access.token)).valid).toBe(false);
    await sandbox.delete();
  });

  test('clones, commits, branches, pushes and pulls', async () => {
    const sandbox = await connect().create();
    const { git, process } = sandbox;
    const { username, password } = LOGIN;
    const served = await startServing(sandbox.id);
    await expect(git.clone(served.closedUrl, 'work')).rejects.toMatchObject({ statusCode: 400 });
    await git.clone(served.closedUrl, 'work', 'main', undefined, username, password);
    await process.executeCommand('echo three > three.txt', 'work');
    expect(await git.status('work')).toMatchObject({
      currentBranch: 'main',
      branchPublished: true,
      fileStatus: [{ name: 'three.txt', staging: 'Untracked', worktree: 'Untracked' }],
    });
    await git.add('work', ['three.txt']);
    const { sha } = await git.commit('work', 'third', 'Me', 'me@example.com');
    expect(sha).toMatch(/^[0-9a-f]{40}$/);
    expect(await git.status('work')).toMatchObject({ ahead: 1, behind: 0, fileStatus: [] });
    await git.push('work', username, password);
    await git.createBranch('work', 'feature');
    await git.checkoutBranch('work', 'feature');
    expect((await git.branches('work')).branches).toEqual(['feature', 'main']);
    await git.checkoutBranch('work', 'main');
    await git.deleteBranch('work', 'feature');
    await git.clone(served.closedUrl, 'second', 'other', undefined, username, password);
    await git.checkoutBranch('second', 'main');
    await git.pull('second', username, password);
    expect((await process.executeCommand('cat three.txt', 'second')).result).toBe('three\n');
    await git.clone(served.openUrl, 'old', undefined, (await git.status('work')).currentBranch);
    await sandbox.delete();
  });
});

describe.each(newer)('%s', (_name, connect) => {
  test('makes repositories, takes changes back, and knows remotes and settings', async () => {
    const sandbox = await connect().create();
    const { git, process } = sandbox;
    await git.init('made', false, 'trunk');
    await process.executeCommand('echo one > a; echo one > b', 'made');
    await git.configureUser('Me', 'me@example.com');
    expect(await git.getConfig('user.name')).toBe('Me');
    expect((await git.getConfig('user.nothing')) ?? undefined).toBeUndefined();
    await git.setConfig('core.abbrev', '12', 'local', 'made');
    expect(await git.getConfig('core.abbrev', 'local', 'made')).toBe('12');
    await git.add('made', ['.']);
    await git.commit('made', 'first', 'Me', 'me@example.com');
    await process.executeCommand('echo two > a; echo two > b; git add a', 'made');
    await git.restore('made', ['a'], true);
    await git.restore('made', ['a']);
    expect((await git.status('made')).fileStatus).toMatchObject([{ name: 'b', worktree: 'Modified' }]);
    await git.reset('made', 'hard');
    expect((await git.status('made')).fileStatus).toEqual([]);
    await git.remoteAdd('made', 'up', 'https://example.com/a.git');
    await expect(git.remoteAdd('made', 'up', 'https://example.com/b.git')).rejects.toMatchObject({ statusCode: 409 });
    await git.remoteAdd('made', 'up', 'https://example.com/b.git', false, true);
    expect(await git.remoteGet('made', 'up')).toBe('https://example.com/b.git');
    expect((await git.remotes('made')).remotes).toHaveLength(1);
    await git.dangerouslyAuthenticate('me', 'secret', 'example.com');
    const stored = await process.executeCommand('cat ~/.git-credentials');
    expect(stored.result).toBe('https://me:secret@example.com\n');
    await sandbox.delete();
  });
});
