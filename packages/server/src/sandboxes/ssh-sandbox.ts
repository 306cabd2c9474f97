import type { Socket } from 'node:net';
import type { ContainerFiles } from '../runtime/file-types.ts';
import type { ExecProcess, ProcessUser, TerminalProcess } from '../runtime/types.ts';
import { checkEnvironment } from './environment.ts';
import { resolvePath } from './profile.ts';
import { enterSandbox, shellOf } from './toolbox/enter.ts';
import type { SandboxContext } from './types.ts';

/** A running sandbox, for somebody who is logged in to it. */
export interface SshSandbox {
  user: ProcessUser;
  workDir: string;
  /** Relative paths are taken from the work dir. */
  resolve(path: string): string;
  files: ContainerFiles;
  /** The user's shell, or one command of it. */
  run(command: string | undefined, env: Readonly<Record<string, string>>): Promise<ExecProcess>;
  terminal(
    command: string | undefined,
    env: Readonly<Record<string, string>>,
    size: { cols: number; rows: number },
  ): Promise<TerminalProcess>;
  /** As `SandboxRuntime.connect`. */
  connect(port: number, signal: AbortSignal): Promise<Socket>;
  /** In use until the returned function is called. */
  begin(): () => void;
}

export async function openSshSandbox(
  context: SandboxContext,
  login: { accessId: string; organizationId: string; sandboxId: string },
): Promise<SshSandbox> {
  const caller = { organizationId: login.organizationId, actor: `ssh:${login.accessId}` };
  const { row, profile, env } = await enterSandbox(context, caller, login.sandboxId);
  const { runtime, activity } = context;
  const spec = (command: string | undefined, more: Readonly<Record<string, string>>) => {
    checkEnvironment(more);
    const shell = shellOf(profile);
    return {
      argv: command === undefined ? [shell, '-l'] : [shell, '-c', command],
      env: { ...env, SHELL: shell, ...more },
      cwd: profile.workDir,
      user: profile.user,
    };
  };
  return {
    user: profile.user,
    workDir: profile.workDir,
    resolve: (path) => resolvePath(profile, path),
    files: runtime.files(row.id),
    run: async (command, more) => runtime.exec(row.id, spec(command, more)),
    terminal: async (command, more, size) => runtime.openTerminal(row.id, { ...spec(command, more), ...size }),
    connect: (port, signal) => runtime.connect(row.id, port, { signal }),
    begin: () => activity.begin(row.id),
  };
}
