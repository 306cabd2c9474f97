import type { GitWork } from './git-work.ts';
import { parseStatus, type StatusFile } from './status.ts';

export interface GitStatus {
  /** `HEAD` when it is on no branch. */
  branch: string;
  detached: boolean;
  upstream: string;
  isPublished: boolean;
  ahead: number;
  behind: number;
  files: StatusFile[];
}

export interface GitCommit {
  hash: string;
  author: string;
  email: string;
  message: string;
  timestamp: string;
}

/** Newest first; more than anybody reads, and what an answer can hold. */
const MAX_COMMITS = 10_000;
const COMMIT_FIELDS = ['%H', '%an', '%ae', '%aI', '%B'];

export async function readStatus(work: GitWork): Promise<GitStatus> {
  const args = ['status', '--porcelain=v2', '--branch', '-z', '--untracked-files=all', '--ignore-submodules=none'];
  // Somebody may work there at the same time, and a lock that this takes would be in the way.
  const { stdout } = await work.git({ args, env: { GIT_OPTIONAL_LOCKS: '0' } });
  const { branch, upstream, counts, files } = parseStatus(stdout);
  const known =
    counts ?? (branch === undefined || upstream !== undefined ? undefined : await againstOrigin(work, branch));
  return {
    branch: branch ?? 'HEAD',
    detached: branch === undefined,
    upstream: upstream ?? '',
    isPublished: known !== undefined,
    ahead: known?.ahead ?? 0,
    behind: known?.behind ?? 0,
    files,
  };
}

/** A branch may have been pushed without being told to follow what it was pushed to. */
async function againstOrigin(work: GitWork, branch: string): Promise<{ ahead: number; behind: number } | undefined> {
  const { exitCode, stdout } = await work.git({
    args: ['rev-list', '--left-right', '--count', `HEAD...refs/remotes/origin/${branch}`, '--'],
    expects: [128],
  });
  const [ahead = '', behind = ''] = stdout.trim().split(/\s+/);
  return exitCode === 0 ? { ahead: Number(ahead), behind: Number(behind) } : undefined;
}

export async function readHistory(work: GitWork): Promise<GitCommit[]> {
  const format = `--format=tformat:${COMMIT_FIELDS.join('%x00')}`;
  const { exitCode, stdout } = await work.git({
    args: ['log', '-z', '--no-show-signature', '--encoding=UTF-8', `--max-count=${MAX_COMMITS}`, format, 'HEAD', '--'],
    expects: [128],
  });
  if (exitCode !== 0) {
    // Raises where there is no repository; one without a commit has an empty history.
    await work.git({ args: ['symbolic-ref', 'HEAD'] });
    return [];
  }
  return parseHistory(stdout);
}

export function parseHistory(output: string): GitCommit[] {
  const fields = output.split('\0');
  const commits: GitCommit[] = [];
  for (let at = 0; at + COMMIT_FIELDS.length < fields.length + 1; at += COMMIT_FIELDS.length) {
    const [hash = '', author = '', email = '', timestamp = '', message = ''] = fields.slice(at);
    if (hash === '') break;
    commits.push({ hash, author, email, timestamp, message });
  }
  return commits;
}
