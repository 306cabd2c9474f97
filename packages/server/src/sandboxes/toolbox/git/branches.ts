import { checkBranch, checkRevision } from './checks.ts';
import type { GitWork } from './git-work.ts';

export interface GitBranches {
  branches: string[];
  /** Empty when HEAD is on no branch. */
  current: string;
}

export async function listBranches(work: GitWork): Promise<GitBranches> {
  const { stdout } = await work.git({ args: ['for-each-ref', '--format=%(refname:lstrip=2)', 'refs/heads/'] });
  return { branches: stdout.split('\n').filter((line) => line !== ''), current: (await currentBranch(work)) ?? '' };
}

/** Also one that has no commit yet. */
export async function currentBranch(work: GitWork): Promise<string | undefined> {
  const { exitCode, stdout } = await work.git({ args: ['symbolic-ref', '--quiet', 'HEAD'], expects: [1] });
  return exitCode === 0 ? stdout.trim().replace(/^refs\/heads\//, '') : undefined;
}

export async function createBranch(work: GitWork, name: string): Promise<void> {
  checkBranch(name);
  await work.git({ args: ['branch', '--', name] });
}

/** Also one whose commits are on no other. */
export async function deleteBranch(work: GitWork, name: string): Promise<void> {
  checkBranch(name);
  await work.git({ args: ['branch', '-D', '--', name] });
}

/** A branch, also one that so far only a remote has, or any revision. */
export async function checkout(work: GitWork, branch: string): Promise<void> {
  checkRevision(branch);
  await work.git({ args: ['checkout', '--quiet', branch, '--'] });
}
