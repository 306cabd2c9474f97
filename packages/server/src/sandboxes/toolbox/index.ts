import type { Readable } from 'node:stream';
import { invalidRequest } from '../../platform/errors.ts';
import type { FileStat } from '../../runtime/types.ts';
import { checkEnvironment } from '../environment.ts';
import { resolvePath } from '../profile.ts';
import type { Caller, SandboxContext } from '../types.ts';
import { createBackgroundOutputs } from './background-outputs.ts';
import { codeCommand, DEFAULT_LANGUAGE } from './code-command.ts';
import { type Entered, enterSandbox, shellOf } from './enter.ts';
import { createGit, type Git } from './git/index.ts';
import { type CommandResult, runCommand } from './run-command.ts';
import { type ShellCommand, shellCommand } from './shell-command.ts';

export type { CommandResult } from './run-command.ts';

interface RunOptions {
  cwd?: string | undefined;
  env?: Readonly<Record<string, string>> | undefined;
  timeoutSeconds?: number | undefined;
}

export interface ToolboxFile {
  /** Absolute in the sandbox. */
  path: string;
  stat: FileStat;
  owner: string;
  group: string;
}

/** Work inside running sandboxes. Every call counts as activity; relative paths are taken from the work dir. */
export interface Toolbox {
  execute(
    caller: Caller,
    id: string,
    request: RunOptions & { command: string },
    signal: AbortSignal,
  ): Promise<CommandResult>;
  runCode(
    caller: Caller,
    id: string,
    request: RunOptions & { code: string; language?: string | undefined; args?: readonly string[] | undefined },
    signal: AbortSignal,
  ): Promise<CommandResult>;
  readonly git: Git;
  directories(caller: Caller, id: string): Promise<{ workDir: string; home: string }>;
  /** For the calls below, so that many files are one look at the database. */
  enter(caller: Caller, id: string): Promise<SandboxFiles>;
}

/** Files of one running sandbox. Errors as in `ContainerFiles`. */
export interface SandboxFiles {
  /** Owned by the sandbox's user; parents are made. */
  write(path: string, content: Readable): Promise<void>;
  read(path: string): Promise<{ stat: FileStat; stream: Readable }>;
  stat(path: string): Promise<ToolboxFile>;
}

/** More servers than anybody starts in one sandbox without sending their output to a file. */
const MAX_BACKGROUND_OUTPUTS = 512;

export function createToolbox(context: SandboxContext): Toolbox {
  const backgroundOutputs = createBackgroundOutputs(MAX_BACKGROUND_OUTPUTS);

  const enter = (caller: Caller, id: string) => enterSandbox(context, caller, id);

  async function run(
    { row, profile, env }: Entered,
    request: RunOptions,
    command: ShellCommand,
    options: { findsCharts: boolean },
    signal: AbortSignal,
  ): Promise<CommandResult> {
    checkEnvironment(request.env ?? {});
    const { maxExecSeconds } = context.settings;
    return runCommand(
      { ...context, backgroundOutputs },
      row.id,
      {
        ...command,
        ...options,
        env: { ...env, ...request.env },
        cwd: request.cwd ? resolvePath(profile, request.cwd) : profile.workDir,
        user: profile.user,
        timeoutSeconds: Math.min(request.timeoutSeconds || maxExecSeconds, maxExecSeconds),
      },
      signal,
    );
  }

  return {
    git: createGit(context),
    async execute(caller, id, request, signal) {
      if (request.command.trim() === '') throw invalidRequest('command is required');
      const entered = await enter(caller, id);
      const command = shellCommand(shellOf(entered.profile), request.command);
      return run(entered, request, command, { findsCharts: false }, signal);
    },
    async runCode(caller, id, request, signal) {
      const entered = await enter(caller, id);
      const language = request.language || entered.row.labels['code-toolbox-language'] || DEFAULT_LANGUAGE;
      const command = codeCommand(shellOf(entered.profile), language, request.code, request.args ?? []);
      return run(entered, request, command, { findsCharts: true }, signal);
    },
    async directories(caller, id) {
      const { profile } = await enter(caller, id);
      return { workDir: profile.workDir, home: profile.user.home };
    },
    async enter(caller, id) {
      return filesOf(context, await enter(caller, id));
    },
  };
}

function filesOf(context: SandboxContext, { row, profile }: Entered): SandboxFiles {
  const files = context.runtime.files(row.id);
  const { user } = profile;
  const nameOf = (id: number, own: number) => (id === own ? user.name : id === 0 ? 'root' : String(id));
  return {
    async write(path, content) {
      const endUse = context.activity.begin(row.id);
      try {
        await files.write(resolvePath(profile, path), content, { uid: user.uid, gid: user.gid });
      } finally {
        endUse();
      }
    },
    read: async (path) => files.read(resolvePath(profile, path)),
    async stat(path) {
      const absolute = resolvePath(profile, path);
      const stat = await files.stat(absolute);
      return { path: absolute, stat, owner: nameOf(stat.uid, user.uid), group: nameOf(stat.gid, user.gid) };
    },
  };
}
