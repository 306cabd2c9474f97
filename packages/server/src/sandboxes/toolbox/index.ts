import { invalidRequest } from '../../platform/errors.ts';
import { checkEnvironment } from '../environment.ts';
import { findRunning } from '../find.ts';
import { createMetricsReader, type SandboxMetrics } from '../metrics.ts';
import { lookForOomKills, OUT_OF_MEMORY_NOTE } from '../out-of-memory.ts';
import { resolvePath } from '../profile.ts';
import type { Caller, SandboxContext } from '../types.ts';
import { createBackgroundOutputs } from './background-outputs.ts';
import { codeCommand, DEFAULT_LANGUAGE } from './code-command.ts';
import { type Entered, enterSandbox, shellOf } from './enter.ts';
import { filesOf, type SandboxFiles } from './files/index.ts';
import { createGit, type Git } from './git/index.ts';
import { type CommandResult, runCommand } from './run-command.ts';
import { type ShellCommand, shellCommand } from './shell-command.ts';

export type { SandboxFiles, ToolboxFile } from './files/index.ts';
export type { CommandResult } from './run-command.ts';

interface RunOptions {
  cwd?: string | undefined;
  env?: Readonly<Record<string, string>> | undefined;
  timeoutSeconds?: number | undefined;
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
  /** What it takes of what it may take. */
  metrics(caller: Caller, id: string): Promise<SandboxMetrics>;
  readonly git: Git;
  directories(caller: Caller, id: string): Promise<{ workDir: string; home: string }>;
  /** TCP ports that something listens on. */
  ports(caller: Caller, id: string): Promise<number[]>;
  /** For the calls below, so that many files are one look at the database. */
  enter(caller: Caller, id: string): Promise<SandboxFiles>;
}

/** More servers than anybody starts in one sandbox without sending their output to a file. */
const MAX_BACKGROUND_OUTPUTS = 512;

export function createToolbox(context: SandboxContext): Toolbox {
  const backgroundOutputs = createBackgroundOutputs(MAX_BACKGROUND_OUTPUTS);

  const metrics = createMetricsReader(context);
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
    const result = await runCommand(
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
    if (result.exitCode === 0) return result;
    const sandbox = { id: row.id, organizationId: row.organization_id };
    if (!(await lookForOomKills(context, sandbox))) return result;
    await result.output.write(Buffer.from(OUT_OF_MEMORY_NOTE));
    return { ...result, outOfMemory: true };
  }

  return {
    async metrics(caller, id) {
      // Not activity: whoever watches it must not keep it from being stopped.
      return metrics.read(await findRunning(context.db, caller.organizationId, id));
    },
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
    async ports(caller, id) {
      const { row } = await enter(caller, id);
      return context.runtime.listeningPorts(row.id);
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
