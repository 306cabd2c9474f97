import { invalidRequest } from '../../../platform/errors.ts';
import { checkBranch, checkRevision, checkUrl } from './checks.ts';
import { credentialsFrom, withoutCredentials } from './credentials.ts';
import type { GitCommand, GitWork } from './git-work.ts';

export interface CloneRequest {
  url: string;
  path: string;
  branch?: string | undefined;
  commitId?: string | undefined;
  depth?: number | undefined;
  username?: string | undefined;
  password?: string | undefined;
  insecureSkipTls: boolean;
}

/** Makes the repository whole, at the branch or commit, or leaves nothing where nothing was. */
export async function clone(work: GitWork, request: CloneRequest): Promise<void> {
  const { branch, commitId } = request;
  const { url, ...own } = withoutCredentials(request.url);
  checkUrl(url);
  if (branch !== undefined) checkBranch(branch);
  if (commitId !== undefined) checkRevision(commitId);
  if (request.path === '') throw invalidRequest('path is required');
  const values = credentialsFrom(request.username || own.username, request.password || own.password);
  const remote: Pick<GitCommand, 'credentials' | 'settings'> = {
    credentials: values && { values, url: await rewritten(work, url) },
    settings: request.insecureSkipTls ? ['http.sslVerify=false'] : [],
  };
  const target = work.resolve(request.path);
  const depth = request.depth === undefined ? [] : [`--depth=${request.depth}`];
  const wasThere = await work.exists(target);
  try {
    await work.git({
      ...remote,
      args: [
        'clone',
        '--quiet',
        ...depth,
        ...(branch === undefined ? [] : [`--branch=${branch}`]),
        ...(commitId === undefined ? [] : ['--no-checkout']),
        '--',
        url,
        target,
      ],
    });
    if (commitId !== undefined) await checkoutCommit(work, { target, commitId, depth, remote });
  } catch (error) {
    // A killed git does not tidy up, and what it leaves would be in the way of the next clone.
    if (!wasThere) await work.program(['rm', '-rf', '--', target]).catch(() => {});
    throw error;
  }
}

/** The user's settings may put another address in place of the one that was asked for (`url.….insteadOf`). */
async function rewritten(work: GitWork, url: string): Promise<string> {
  const { stdout } = await work.git({ args: ['ls-remote', '--get-url', url] });
  return stdout.trim();
}

async function checkoutCommit(
  work: GitWork,
  options: {
    target: string;
    commitId: string;
    depth: readonly string[];
    remote: Pick<GitCommand, 'credentials' | 'settings'>;
  },
): Promise<void> {
  const { target, commitId, depth, remote } = options;
  const inside = ['-C', target];
  const found = await work.git({ args: [...inside, 'cat-file', '-e', `${commitId}^{commit}`], expects: [1, 128] });
  // On no branch, or behind the depth: servers give it when they are asked for it by its full name.
  if (found.exitCode !== 0) {
    await work.git({ ...remote, args: [...inside, 'fetch', '--quiet', ...depth, 'origin', commitId] });
  }
  await work.git({ args: [...inside, 'checkout', '--quiet', '--detach', commitId, '--'] });
}
