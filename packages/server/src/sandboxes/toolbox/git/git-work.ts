import { DarkroomError, invalidRequest } from '../../../platform/errors.ts';
import { resolvePath } from '../../profile.ts';
import type { Caller, SandboxContext } from '../../types.ts';
import { type Entered, enterSandbox, shellOf } from '../enter.ts';
import { credentialSettings, type GitCredentials, pipeOf, redact, WITH_PIPE } from './credentials.ts';
import { type GitOutput, runBounded } from './run-git.ts';

const LOCAL_MAX_SECONDS = 5 * 60;
const NETWORK_MAX_SECONDS = 60 * 60;
const PROGRAM_MAX_MS = 30_000;
const MAX_OUTPUT_BYTES = 32 * 1024 * 1024;
/** A shell and git both end so when the program is not there. */
const NOT_THERE = 127;

/** For every git: nobody is there to be asked, secrets stay out of traces, its words are English, and no `ext::` anywhere. */
const ENVIRONMENT = {
  GIT_TERMINAL_PROMPT: '0',
  GIT_ASKPASS: '',
  SSH_ASKPASS: '',
  GIT_EDITOR: ':',
  GIT_PAGER: 'cat',
  GIT_TRACE_REDACT: '1',
  GIT_TRACE_CURL_NO_DATA: '1',
  GIT_ALLOW_PROTOCOL: 'file:git:http:https:ssh',
  LC_ALL: 'C.UTF-8',
};

export interface GitCommand {
  args: readonly string[];
  /** Settings of this command alone: `key=value`. */
  settings?: readonly string[];
  env?: Readonly<Record<string, string>>;
  input?: string;
  credentials?: { values: GitCredentials; url: string } | undefined;
  /** Ends of git that the caller handles; every other but 0 is raised. */
  expects?: readonly number[];
}

/** One call's work with git in a sandbox, as the sandbox's user. */
export interface GitWork {
  /** Absolute in the sandbox: the repository, or the work dir where the call names none. */
  readonly directory: string;
  resolve(path: string): string;
  exists(path: string): Promise<boolean>;
  /** Raises `invalid_request` with git's words, free of secrets, `timeout`, and whatever `SandboxRuntime.exec` does. */
  git(command: GitCommand): Promise<GitOutput>;
  /** Another program, where what it says does not matter. */
  program(argv: readonly string[]): Promise<void>;
}

export interface GitCall {
  caller: Caller;
  sandboxId: string;
  signal: AbortSignal;
  /** As the client gave it. */
  path?: string | undefined;
  /** Talks to another machine, which may take long. */
  network?: boolean;
}

/** Enters the sandbox, holds it in use while `work` runs, and bounds the time of all of it. */
export async function withGit<T>(
  context: SandboxContext,
  call: GitCall,
  work: (git: GitWork) => Promise<T>,
): Promise<T> {
  const entered = await enterSandbox(context, call.caller, call.sandboxId);
  const seconds = Math.min(call.network ? NETWORK_MAX_SECONDS : LOCAL_MAX_SECONDS, context.settings.maxExecSeconds);
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new DarkroomError('timeout', `git took longer than ${seconds} seconds`, { retryable: true })),
    seconds * 1000,
  );
  const endUse = context.activity.begin(entered.row.id);
  try {
    return await work(gitWork(context, entered, call.path, AbortSignal.any([call.signal, late.signal])));
  } finally {
    clearTimeout(timer);
    endUse();
  }
}

function gitWork(
  context: SandboxContext,
  { row, profile, env }: Entered,
  path: string | undefined,
  signal: AbortSignal,
): GitWork {
  const files = context.runtime.files(row.id);
  const directory = path === undefined || path === '' ? profile.workDir : resolvePath(profile, path);
  const base = { cwd: directory, user: profile.user, maxOutputBytes: MAX_OUTPUT_BYTES };
  const ownerOf = async (file: string) => (await files.stat(file).catch(() => undefined))?.uid;
  let trusted: Promise<string[]> | undefined;

  /**
   * Git refuses what another user owns, because its settings can name programs. What root put there, an upload for example, is
   * no trap for a user: root needs none.
   */
  async function trustRoot(): Promise<string[]> {
    if (profile.user.uid === 0) return [];
    const owners = await Promise.all([ownerOf(directory), ownerOf(`${directory}/.git`)]);
    const isSafe = owners.every((uid) => uid === undefined || uid === 0 || uid === profile.user.uid);
    return isSafe && owners.includes(0) ? [`safe.directory=${directory}`] : [];
  }

  return {
    directory,
    resolve: (other) => resolvePath(profile, other),
    exists: async (other) => (await ownerOf(resolvePath(profile, other))) !== undefined,
    async git(command) {
      trusted ??= trustRoot();
      const { credentials } = command;
      const asking = credentials && credentialSettings(credentials.url);
      const settings = [...(await trusted), ...(asking ?? []), ...(command.settings ?? [])];
      const args = [...settings.flatMap((setting) => ['-c', setting]), ...command.args];
      const argv = asking ? [shellOf(profile), '-c', WITH_PIPE, 'git', ...args] : ['git', ...args];
      const result = await runBounded(
        context,
        row.id,
        {
          ...base,
          argv,
          env: { ...env, ...ENVIRONMENT, ...command.env },
          input: asking && credentials ? pipeOf(credentials.values) : (command.input ?? ''),
        },
        signal,
      );
      if (result.exitCode === 0 || command.expects?.includes(result.exitCode)) return result;
      throw failure(command.args[0] ?? '', result, credentials?.values);
    },
    async program(argv) {
      // Also after the client went: it tidies up.
      const bounded = AbortSignal.timeout(PROGRAM_MAX_MS);
      await runBounded(context, row.id, { ...base, cwd: '/', argv, env, input: '' }, bounded);
    },
  };
}

function failure(verb: string, result: GitOutput, credentials: GitCredentials | undefined): DarkroomError {
  if (result.exitCode === NOT_THERE) {
    return invalidRequest('git is not installed in this sandbox', {
      hint: 'Use a snapshot whose image has git, or install it in the sandbox.',
    });
  }
  const words = result.stderr.trim() === '' ? result.stdout.slice(-4096) : result.stderr;
  const said = redact(lastLines(words), credentials);
  return invalidRequest(`git ${verb} failed${said === '' ? ` with exit code ${result.exitCode}` : `: ${said}`}`);
}

/** Without the progress that git writes over itself, and without what a remote would have a terminal do. */
export function lastLines(words: string): string {
  const lines = words.split('\n').map((line) => line.slice(line.lastIndexOf('\r', line.length - 2) + 1).trimEnd());
  return lines
    .filter((line) => line !== '')
    .slice(-20)
    .map((line) => line.replace(/\p{Cc}/gu, ' ').trimEnd())
    .join('\n');
}
