import { invalidRequest } from '../../../platform/errors.ts';
import { checkFiles, checkNoNul, checkRevision } from './checks.ts';
import type { GitWork } from './git-work.ts';

/** Arguments have room for about 2 MiB together with the environment; longer lists go in by the standard input. */
const MAX_ARGUMENT_BYTES = 64 * 1024;

const RESET_MODES = ['soft', 'mixed', 'hard', 'merge', 'keep'];

function pathspec(files: readonly string[]): { args: string[]; input?: string } {
  checkFiles(files);
  const input = files.join('\0');
  if (Buffer.byteLength(input) <= MAX_ARGUMENT_BYTES) return { args: ['--', ...files] };
  return { args: ['--pathspec-from-file=-', '--pathspec-file-nul'], input };
}

export async function addFiles(work: GitWork, files: readonly string[]): Promise<void> {
  const { args, ...rest } = pathspec(files);
  await work.git({ ...rest, args: ['add', ...args] });
}

export interface CommitRequest {
  message: string;
  author: string;
  email: string;
  allowEmpty: boolean;
}

/** Gives the hash of the new commit. */
export async function commit(work: GitWork, request: CommitRequest): Promise<string> {
  const { message, author, email } = request;
  if (message.trim() === '') throw invalidRequest('message is required');
  if (author.trim() === '') throw invalidRequest('author is required');
  for (const [what, value] of Object.entries({ message, author, email })) checkNoNul(what, value);
  await work.git({
    args: ['commit', '--quiet', ...(request.allowEmpty ? ['--allow-empty'] : []), '--file=-'],
    input: message,
    env: {
      GIT_AUTHOR_NAME: author,
      GIT_AUTHOR_EMAIL: email,
      GIT_COMMITTER_NAME: author,
      GIT_COMMITTER_EMAIL: email,
    },
  });
  const { stdout } = await work.git({ args: ['rev-parse', 'HEAD'] });
  return stdout.trim();
}

export interface ResetRequest {
  mode?: string | undefined;
  target?: string | undefined;
  files?: readonly string[] | undefined;
}

export async function reset(work: GitWork, { mode, target = 'HEAD', files = [] }: ResetRequest): Promise<void> {
  if (mode !== undefined && !RESET_MODES.includes(mode)) {
    throw invalidRequest(`mode must be one of ${RESET_MODES.join(', ')}`);
  }
  checkRevision(target);
  if (files.length === 0) {
    await work.git({ args: ['reset', '--quiet', `--${mode ?? 'mixed'}`, target, '--'] });
    return;
  }
  if (mode !== undefined && mode !== 'mixed') throw invalidRequest(`A ${mode} reset takes no files`);
  const { args, ...rest } = pathspec(files);
  await work.git({ ...rest, args: ['reset', '--quiet', target, ...args] });
}

export interface RestoreRequest {
  files: readonly string[];
  staged: boolean;
  worktree: boolean;
  source?: string | undefined;
}

export async function restore(work: GitWork, { files, staged, worktree, source }: RestoreRequest): Promise<void> {
  if (source !== undefined) checkRevision(source);
  const { args, ...rest } = pathspec(files);
  await work.git({
    ...rest,
    args: [
      'restore',
      ...(staged ? ['--staged'] : []),
      ...(worktree ? ['--worktree'] : []),
      ...(source === undefined ? [] : [`--source=${source}`]),
      ...args,
    ],
  });
}
