import { join } from 'node:path';
import { messageOf } from '../platform/errors.ts';
import type { SandboxRuntime } from '../runtime/types.ts';
import { BoundedLog } from './bounded-log.ts';
import { entrypointCommand } from './entrypoint-command.ts';
import { sandboxEnvironment } from './environment.ts';
import { parseImage } from './image.ts';
import { imageUser, isDirectory } from './profile.ts';
import type { SandboxLog, SandboxRow } from './types.ts';

export interface EntrypointStatus {
  command: readonly string[];
  logPath: string;
  /** Undefined while it runs. */
  exitCode: number | undefined;
}

/** The entry points of the sandboxes of this runner, and what they wrote. */
export interface Entrypoints {
  /** Starts it, if there is one; resolves when it runs. Its failure is in its log and ends nothing. */
  start(row: SandboxRow): Promise<void>;
  /** Goes on keeping the log of one that was started before this server. */
  adopt(row: SandboxRow): void;
  status(sandboxId: string): EntrypointStatus | undefined;
  /** The sandbox is stopped; the log stays. */
  stopped(sandboxId: string): void;
  remove(sandboxId: string): Promise<void>;
  close(): void;
}

export function createEntrypoints(runtime: SandboxRuntime, directory: string, log: SandboxLog): Entrypoints {
  const running = new Map<string, { log: BoundedLog; status: EntrypointStatus }>();
  const logOf = (id: string) => new BoundedLog(join(directory, `${id}.log`));
  const warn = (id: string) => (error: unknown) =>
    log.warn({ sandboxId: id, err: error }, `log of the entry point: ${messageOf(error)}`);

  function track(id: string, command: readonly string[], output: BoundedLog): EntrypointStatus {
    running.get(id)?.log.close();
    const status: EntrypointStatus = { command, logPath: output.path, exitCode: undefined };
    running.set(id, { log: output, status });
    output.watch(warn(id));
    return status;
  }

  return {
    async start(row) {
      const command = entrypointCommand(row);
      if (command.length === 0) return;
      const output = logOf(row.id);
      await using file = await output.openForProcess();
      const status = track(row.id, command, output);
      try {
        const { workingDir } = parseImage(row.image);
        const user = await imageUser(runtime, row);
        const env = sandboxEnvironment(row);
        const cwd = workingDir !== '' && (await isDirectory(runtime, row.id, workingDir)) ? workingDir : '/';
        const child = await runtime.exec(row.id, {
          argv: command,
          env: { HOME: user.home, ...env },
          cwd,
          user,
          outputFd: file.fd,
        });
        child.exited.then(
          ({ exitCode }) => {
            status.exitCode = exitCode;
          },
          (error: unknown) => warn(row.id)(error),
        );
      } catch (error) {
        status.exitCode = -1;
        await file.write(`The entry point could not be started: ${messageOf(error)}\n`);
      }
    },
    adopt(row) {
      const command = entrypointCommand(row);
      if (command.length > 0) track(row.id, command, logOf(row.id));
    },
    status: (sandboxId) => running.get(sandboxId)?.status,
    stopped(sandboxId) {
      running.get(sandboxId)?.log.close();
      running.delete(sandboxId);
    },
    async remove(sandboxId) {
      running.get(sandboxId)?.log.close();
      running.delete(sandboxId);
      await logOf(sandboxId).remove();
    },
    close() {
      for (const { log: output } of running.values()) output.close();
      running.clear();
    },
  };
}
