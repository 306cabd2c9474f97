import { conflict, invalidRequest } from '../../../platform/errors.ts';
import { currentBranch } from './branches.ts';
import { checkBranch, checkRemote, checkUrl } from './checks.ts';
import { credentialsFrom, withoutCredentials } from './credentials.ts';
import type { GitCommand, GitWork } from './git-work.ts';

export interface TransferRequest {
  branch?: string | undefined;
  remote?: string | undefined;
  username?: string | undefined;
  password?: string | undefined;
}

export async function push(work: GitWork, request: TransferRequest & { setUpstream: boolean }): Promise<void> {
  const { remote = 'origin' } = request;
  const branch = request.branch ?? (await currentBranch(work));
  if (branch === undefined) throw invalidRequest('HEAD is on no branch; name the one to push');
  checkBranch(branch);
  checkRemote(remote);
  const upstream = request.setUpstream ? ['--set-upstream'] : [];
  await work.git({
    args: ['push', '--quiet', ...upstream, '--', remote, `refs/heads/${branch}:refs/heads/${branch}`],
    credentials: await credentialsForRemote(work, request, ['remote', 'get-url', '--push', '--', remote]),
  });
}

/** Without a branch: what the current one follows, else the one of the same name. */
export async function pull(work: GitWork, request: TransferRequest): Promise<void> {
  const current = await currentBranch(work);
  const followed = current === undefined ? undefined : await followedRemote(work, current);
  const remote = request.remote ?? followed ?? 'origin';
  checkRemote(remote);
  const branch = request.branch ?? (remote === followed ? undefined : current);
  if (branch !== undefined) checkBranch(branch);
  else if (followed === undefined) throw invalidRequest('HEAD is on no branch; name the one to pull');
  await work.git({
    args: ['pull', '--quiet', '--no-edit', '--', remote, ...(branch === undefined ? [] : [branch])],
    credentials: await credentialsForRemote(work, request, ['remote', 'get-url', '--', remote]),
  });
}

async function followedRemote(work: GitWork, branch: string): Promise<string | undefined> {
  const setting = async (key: string) =>
    (await work.git({ args: ['config', '--get', `branch.${branch}.${key}`], expects: [1] })).stdout.trim();
  return (await setting('merge')) === '' ? undefined : (await setting('remote')) || undefined;
}

async function credentialsForRemote(
  work: GitWork,
  request: TransferRequest,
  args: readonly string[],
): Promise<GitCommand['credentials']> {
  const values = credentialsFrom(request.username, request.password);
  if (values === undefined) return undefined;
  const { stdout } = await work.git({ args });
  return { values, url: stdout.split('\n', 1)[0] ?? '' };
}

export interface GitRemote {
  name: string;
  url: string;
}

export async function listRemotes(work: GitWork): Promise<GitRemote[]> {
  const { stdout } = await work.git({
    args: ['config', '--local', '-z', '--get-regexp', '^remote\\..*\\.url$'],
    expects: [1],
  });
  const found = new Map<string, string>();
  for (const entry of stdout.split('\0').filter((part) => part !== '')) {
    const newline = entry.indexOf('\n');
    const name = entry.slice('remote.'.length, newline - '.url'.length);
    // One that has several is fetched from its first.
    if (!found.has(name)) found.set(name, entry.slice(newline + 1));
  }
  return [...found].map(([name, url]) => ({ name, url }));
}

export interface AddRemoteRequest {
  name: string;
  url: string;
  fetch: boolean;
  overwrite: boolean;
}

export async function addRemote(work: GitWork, { name, url, fetch, overwrite }: AddRemoteRequest): Promise<void> {
  if (name === '') throw invalidRequest('name is required');
  checkRemote(name);
  checkUrl(url);
  if (withoutCredentials(url).password !== '') {
    throw invalidRequest('The URL of a remote must not hold a password, which would be readable in .git/config', {
      hint: 'Give user name and password to push and pull, or store them with authenticate.',
    });
  }
  const isThere = (await listRemotes(work)).some((remote) => remote.name === name);
  if (isThere && !overwrite) throw conflict(`Remote ${name} already exists`);
  await work.git({ args: isThere ? ['remote', 'set-url', '--', name, url] : ['remote', 'add', '--', name, url] });
  if (fetch) await work.git({ args: ['fetch', '--quiet', '--', name] });
}
