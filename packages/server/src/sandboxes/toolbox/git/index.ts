import type { Caller, SandboxContext } from '../../types.ts';
import * as branches from './branches.ts';
import * as changes from './changes.ts';
import { type CloneRequest, clone } from './clone.ts';
import * as config from './config.ts';
import { type GitCall, type GitWork, withGit } from './git-work.ts';
import { type GitCommit, type GitStatus, readHistory, readStatus } from './inspect.ts';
import * as remotes from './remotes.ts';

export type { GitCommit, GitStatus } from './inspect.ts';
export type { GitRemote } from './remotes.ts';
export type { StatusFile, StatusWord } from './status.ts';

/** Who asks, for which sandbox, and until when. */
export interface GitCaller {
  caller: Caller;
  sandboxId: string;
  signal: AbortSignal;
}

/**
 * Git in running sandboxes: the image's own, as the sandbox's user. Raises `invalid_request` with git's words where it fails and
 * where the image has no git, and `timeout`. `path` may be relative to the work dir.
 */
export type Git = ReturnType<typeof createGit>;

export function createGit(context: SandboxContext) {
  type Use<R, T> = (work: GitWork, request: R) => Promise<T>;
  const on =
    <R extends { path: string }, T>(use: Use<R, T>, options: Pick<GitCall, 'network'> = {}) =>
    (call: GitCaller, request: R): Promise<T> =>
      withGit(context, { ...call, ...options, path: request.path }, (work) => use(work, request));
  // In the work dir: the path is not there yet, or need not be named.
  const anywhere =
    <R, T>(use: Use<R, T>, options: Pick<GitCall, 'network'> = {}) =>
    (call: GitCaller, request: R): Promise<T> =>
      withGit(context, { ...call, ...options }, (work) => use(work, request));
  const scoped =
    <R extends { path?: string | undefined }, T>(use: Use<R, T>) =>
    (call: GitCaller, request: R): Promise<T> =>
      withGit(context, { ...call, path: request.path }, (work) => use(work, request));
  const network = { network: true };

  return {
    clone: anywhere<CloneRequest, void>(clone, network),
    init: anywhere(config.init),
    status: on<{ path: string }, GitStatus>(readStatus),
    history: on<{ path: string }, GitCommit[]>(readHistory),
    branches: on<{ path: string }, branches.GitBranches>(branches.listBranches),
    createBranch: on<{ path: string; name: string }, void>((work, { name }) => branches.createBranch(work, name)),
    deleteBranch: on<{ path: string; name: string }, void>((work, { name }) => branches.deleteBranch(work, name)),
    checkout: on<{ path: string; branch: string }, void>((work, { branch }) => branches.checkout(work, branch)),
    add: on<{ path: string; files: readonly string[] }, void>((work, { files }) => changes.addFiles(work, files)),
    commit: on<{ path: string } & changes.CommitRequest, string>(changes.commit),
    reset: on<{ path: string } & changes.ResetRequest, void>(changes.reset),
    restore: on<{ path: string } & changes.RestoreRequest, void>(changes.restore),
    push: on<{ path: string } & Parameters<typeof remotes.push>[1], void>(remotes.push, network),
    pull: on<{ path: string } & remotes.TransferRequest, void>(remotes.pull, network),
    remotes: on<{ path: string }, remotes.GitRemote[]>(remotes.listRemotes),
    addRemote: on<{ path: string } & remotes.AddRemoteRequest, void>(remotes.addRemote, network),
    setConfig: scoped(config.setConfig),
    getConfig: scoped(config.getConfig),
    configureUser: scoped(config.configureUser),
    authenticate: anywhere(config.authenticate),
  };
}
