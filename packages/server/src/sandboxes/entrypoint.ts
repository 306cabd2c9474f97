import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { ChangeSignal } from '../platform/change-signal.ts';
import { errnoOf, messageOf } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { SandboxRuntime } from '../runtime/types.ts';
import { entrypointCommand } from './entrypoint-command.ts';
import { sandboxEnvironment } from './environment.ts';
import { parseImage } from './image.ts';
import { keepOutput } from './keep-output.ts';
import { makeFifo, readFifo } from './output-fifo.ts';
import { imageUser, isDirectory } from './profile.ts';
import { RotatingLog } from './rotating-log.ts';
import type { SandboxLog, SandboxRow } from './types.ts';

export interface EntrypointStatus {
  command: readonly string[];
  /** What it wrote last, and `path.1` before that. */
  logPath: string;
  /** Undefined while it runs, and after a restart of the server. */
  exitCode: number | undefined;
  readonly output: EntrypointOutput;
}

/** Changes with every piece that is in the log, and when it ends. */
export class EntrypointOutput extends ChangeSignal {
  #isOpen: boolean;

  constructor(isOpen: boolean) {
    super();
    this.#isOpen = isOpen;
  }

  /** Somebody may write more. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  end(): void {
    this.#isOpen = false;
    this.notify();
  }
}

/** The entry points of the sandboxes of this runner, and what they write. */
export interface Entrypoints {
  /** Starts it, if there is one; resolves when it runs. Its failure is in its log and ends nothing. */
  start(row: SandboxRow): Promise<void>;
  /** Before a container is started that is not the sandbox's first: nothing of an earlier one is taken for its own. */
  prepare(sandboxId: string): Promise<void>;
  /** Goes on reading the output of one that an earlier server started. Starts it, where that one was killed before it had. */
  adopt(row: SandboxRow): Promise<void>;
  status(sandboxId: string): EntrypointStatus | undefined;
  /** Resolves when `status` knows the one that is being started. */
  ready(sandboxId: string): Promise<void>;
  /** The sandbox is stopped; the log stays. */
  stopped(sandboxId: string): void;
  remove(sandboxId: string): Promise<void>;
  /** Lets go of the output; entry points go on running. */
  close(): void;
}

export function createEntrypoints(runtime: SandboxRuntime, directory: string, log: SandboxLog): Entrypoints {
  const known = new Map<string, { status: EntrypointStatus; source: Readable | undefined }>();
  const starting = new Map<string, Promise<void>>();
  /** Also of those that have ended, as long as something is left to read. */
  const readers = new Map<string, { source: Readable; done: Promise<void> }>();
  const fifoOf = (id: string) => join(directory, `${id}.fifo`);
  const logOf = (id: string) => new RotatingLog(join(directory, `${id}.log`));

  function forget(id: string): void {
    known.get(id)?.source?.destroy();
    known.delete(id);
  }

  function follow(row: SandboxRow, command: readonly string[]): EntrypointStatus {
    forget(row.id);
    const kept = logOf(row.id);
    const source = openOutput(row.id);
    const output = new EntrypointOutput(source !== undefined);
    const status: EntrypointStatus = { command, logPath: kept.path, exitCode: undefined, output };
    known.set(row.id, { status, source });
    if (source !== undefined) {
      const told = {
        async append(chunk: Uint8Array) {
          await kept.append(chunk);
          output.notify();
        },
      };
      const read = keepOutput(source, told, (error) => {
        log.warn({ sandboxId: row.id, err: error }, `log of the entry point: ${messageOf(error)}`);
      });
      const done = read.then(() => {
        output.end();
        if (readers.get(row.id)?.source === source) readers.delete(row.id);
      });
      readers.set(row.id, { source, done });
    }
    return status;
  }

  function openOutput(id: string): Readable | undefined {
    try {
      return readFifo(fifoOf(id));
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') log.warn({ sandboxId: id, err: error }, 'the output of an entry point is lost');
      return undefined;
    }
  }

  /** A piece that is still on its way would make a log anew that was removed. */
  async function endReading(id: string): Promise<void> {
    const reader = readers.get(id);
    reader?.source.destroy();
    await reader?.done;
  }

  async function launch(row: SandboxRow, command: readonly string[], onKnown: () => void): Promise<void> {
    await endReading(row.id);
    await logOf(row.id).remove();
    const place = await placeOf(row).catch((error: unknown) => ({ error }));
    // Right before it runs: a server that finds the pipe takes it for begun. Open until the process has it: a pipe that nobody writes to would look
    // ended to the reader.
    await using fifo = await makeFifo(fifoOf(row.id));
    const status = follow(row, command);
    onKnown();
    try {
      if ('error' in place) throw place.error;
      const { user, cwd } = place;
      const env = { HOME: user.home, ...sandboxEnvironment(row) };
      const child = await runtime.exec(row.id, { argv: command, env, cwd, user, outputFd: fifo.fd });
      await failpoint('start.entrypoint-run');
      const ended = (exitCode: number) => {
        status.exitCode = exitCode;
        status.output.notify();
      };
      child.exited.then(
        ({ exitCode }) => ended(exitCode),
        () => ended(-1),
      );
      // At its end already, but for words of the runtime itself: that the command is not there.
      for await (const words of child.stderr) await fifo.write(words);
    } catch (error) {
      status.exitCode = -1;
      status.output.notify();
      await fifo.write(`The entry point could not be started: ${messageOf(error)}\n`);
    }
  }

  async function placeOf(row: SandboxRow) {
    const user = await imageUser(runtime, row);
    const { workingDir } = parseImage(row.image);
    const isThere = workingDir !== '' && (await isDirectory(runtime, row.id, workingDir));
    return { user, cwd: isThere ? workingDir : '/' };
  }

  const entrypoints: Entrypoints = {
    async start(row) {
      const command = entrypointCommand(row);
      if (command.length === 0) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      starting.set(row.id, promise);
      try {
        await launch(row, command, resolve);
      } finally {
        if (starting.get(row.id) === promise) starting.delete(row.id);
        resolve();
      }
    },
    ready: (sandboxId) => starting.get(sandboxId) ?? Promise.resolve(),
    prepare: (sandboxId) => rm(fifoOf(sandboxId), { force: true }),
    async adopt(row) {
      const command = entrypointCommand(row);
      if (command.length === 0) return;
      if (existsSync(fifoOf(row.id)) || row.state !== 'started') follow(row, command);
      else await entrypoints.start(row);
    },
    status: (sandboxId) => known.get(sandboxId)?.status,
    stopped(sandboxId) {
      // What is still in the pipe is read to its end, which the end of the last process is.
      known.delete(sandboxId);
    },
    async remove(sandboxId) {
      forget(sandboxId);
      await endReading(sandboxId);
      await rm(fifoOf(sandboxId), { force: true });
      await logOf(sandboxId).remove();
    },
    close() {
      for (const id of [...known.keys()]) forget(id);
    },
  };
  return entrypoints;
}
