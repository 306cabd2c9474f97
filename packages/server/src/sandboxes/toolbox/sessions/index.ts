import { conflict, DarkroomError, invalidRequest, messageOf, notFound } from '../../../platform/errors.ts';
import { lookForOomKills, OUT_OF_MEMORY_NOTE } from '../../out-of-memory.ts';
import type { Caller, SandboxContext } from '../../types.ts';
import { type Entered, enterSandbox, shellOf } from '../enter.ts';
import type { CommandInfo, SessionCommand, SessionInfo } from './command.ts';
import type { CommandLogs } from './command-logs.ts';
import { ENTRYPOINT_ID, entrypointCommand, entrypointInfo, entrypointLogs } from './entrypoint-session.ts';
import { MAX_COMMAND_BYTES, Session } from './session.ts';
import { SessionShell } from './session-shell.ts';

export type { CommandInfo, SessionInfo } from './command.ts';
export type { CommandLogs } from './command-logs.ts';
export type { OutputPiece, OutputStream } from './session-log.ts';

/** Each is some processes in the sandbox and some descriptors here. */
const MAX_SESSIONS = 64;
const MAX_LOG_BYTES = 32 * 1024 * 1024;
const ID = /^[^/\0]{1,256}$/;

export interface ExecutedCommand {
  id: string;
  /** Undefined for one that was not waited for. */
  result: { exitCode: number; logs: CommandLogs } | undefined;
}

/** Shells in sandboxes that keep what a command changes for the next one. They end with the sandbox, and with the server. */
export interface Sessions {
  /** Resolves when it takes commands. */
  create(caller: Caller, sandbox: string, sessionId: string): Promise<void>;
  list(caller: Caller, sandbox: string): Promise<SessionInfo[]>;
  get(caller: Caller, sandbox: string, sessionId: string): Promise<SessionInfo>;
  /** Resolves when everything that was started in it has ended. */
  remove(caller: Caller, sandbox: string, sessionId: string): Promise<void>;
  /** Commands of a session run one after another. One that is waited for goes on when the wait is given up after it began. */
  execute(
    caller: Caller,
    sandbox: string,
    sessionId: string,
    request: { command: string; isAsync: boolean },
    signal: AbortSignal,
  ): Promise<ExecutedCommand>;
  command(caller: Caller, sandbox: string, sessionId: string, commandId: string): Promise<CommandInfo>;
  logs(caller: Caller, sandbox: string, sessionId: string, commandId: string): Promise<FollowableLogs>;
  input(
    caller: Caller,
    at: { sandbox: string; sessionId: string; commandId: string },
    data: string,
    signal: AbortSignal,
  ): Promise<void>;
  entrypoint(caller: Caller, sandbox: string): Promise<SessionInfo>;
  entrypointLogs(caller: Caller, sandbox: string): Promise<FollowableLogs>;
  /** Its sandbox runs no more: its sessions are gone, and whoever waits is answered. */
  sandboxEnded(sandboxId: string): void;
  close(): Promise<void>;
}

export interface FollowableLogs extends CommandLogs {
  /** The sandbox is in use until the returned function is called. */
  beginUse(): () => void;
}

export function createSessions(context: SandboxContext): Sessions {
  const bySandbox = new Map<string, Map<string, Session>>();

  const enter = (caller: Caller, sandbox: string) => enterSandbox(context, caller, sandbox);

  async function find(caller: Caller, sandbox: string, sessionId: string) {
    const entered = await enter(caller, sandbox);
    const session = bySandbox.get(entered.row.id)?.get(sessionId);
    if (session === undefined) throw notFound(`Session ${sessionId} not found`);
    return { entered, session };
  }

  function open({ row, profile, env }: Entered, sessionId: string): Session {
    const shell = shellOf(profile);
    const exec = { env: { ...env, SHELL: shell }, cwd: profile.workDir, user: profile.user };
    const { spoolDirectory: directory, maxOutputBytes } = context.settings;
    return new Session({
      id: sessionId,
      directory,
      maxLogBytes: Math.min(maxOutputBytes, MAX_LOG_BYTES),
      startShell: (onOutput) => SessionShell.start(context.runtime, row.id, { shell, exec, onOutput }),
      noteOnFailure: async () => {
        const sandbox = { id: row.id, organizationId: row.organization_id };
        try {
          return (await lookForOomKills(context, sandbox)) ? OUT_OF_MEMORY_NOTE : undefined;
        } catch (error) {
          context.log.warn({ sandboxId: row.id, err: error }, 'why a command failed is not known');
          return undefined;
        }
      },
      beginUse: () => context.activity.begin(row.id),
    });
  }

  async function closeSession(sandboxId: string, session: Session, reason: string): Promise<void> {
    try {
      await session.close(reason);
    } finally {
      const own = bySandbox.get(sandboxId);
      if (own?.get(session.id) === session) own.delete(session.id);
      if (own?.size === 0) bySandbox.delete(sandboxId);
    }
  }

  /** Waits for its end, as long as somebody waits for ours. */
  async function result(command: SessionCommand, session: Session, signal: AbortSignal) {
    const { promise: stopped, resolve: stop } = Promise.withResolvers<DarkroomError>();
    const onAbort = () => stop(new DarkroomError('timeout', 'the client closed the connection'));
    signal.addEventListener('abort', onAbort, { once: true });
    const timer = setTimeout(
      () =>
        stop(
          new DarkroomError('timeout', 'command execution timeout', {
            hint: `Command ${command.id} goes on: its logs can be read.`,
          }),
        ),
      context.settings.maxExecSeconds * 1000,
    );
    try {
      const first = await Promise.race([command.ended, stopped]);
      if (first instanceof DarkroomError) throw first;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
    if (command.failure !== undefined) throw command.failure;
    return { exitCode: command.exitCode ?? -1, logs: session.logs(command.id) };
  }

  function followable(sandboxId: string, logs: CommandLogs): FollowableLogs {
    return { ...logs, beginUse: () => context.activity.begin(sandboxId) };
  }

  return {
    async create(caller, sandbox, sessionId) {
      if (!ID.test(sessionId)) throw invalidRequest('sessionId must have 1 to 256 characters, and no slash or NUL');
      const entered = await enter(caller, sandbox);
      const sandboxId = entered.row.id;
      const own = bySandbox.get(sandboxId) ?? new Map<string, Session>();
      if (sessionId === ENTRYPOINT_ID || own.has(sessionId)) throw conflict(`Session ${sessionId} already exists`);
      if (own.size >= MAX_SESSIONS) {
        throw conflict(`The sandbox has ${MAX_SESSIONS} sessions.`, { hint: 'Delete those that are not used.' });
      }
      const session = open(entered, sessionId);
      // Before it runs, so that an end of the sandbox meanwhile finds it.
      bySandbox.set(sandboxId, own.set(sessionId, session));
      try {
        await session.ready();
      } catch (error) {
        await closeSession(sandboxId, session, `Session ${sessionId} did not start`);
        throw error;
      }
    },
    async list(caller, sandbox) {
      const { row } = await enter(caller, sandbox);
      return [...(bySandbox.get(row.id)?.values() ?? [])].map((session) => session.info());
    },
    async get(caller, sandbox, sessionId) {
      return (await find(caller, sandbox, sessionId)).session.info();
    },
    async remove(caller, sandbox, sessionId) {
      const { entered, session } = await find(caller, sandbox, sessionId);
      await closeSession(entered.row.id, session, `Session ${sessionId} was deleted`);
    },
    async execute(caller, sandbox, sessionId, { command: text, isAsync }, signal) {
      if (text.trim() === '') throw invalidRequest('command is required');
      if (text.includes('\0')) throw invalidRequest('The command must not contain NUL');
      if (Buffer.byteLength(text) > MAX_COMMAND_BYTES) {
        throw invalidRequest(`A command has at most ${MAX_COMMAND_BYTES} bytes.`, { hint: 'Upload it as a script.' });
      }
      const { session } = await find(caller, sandbox, sessionId);
      if (isAsync) return { id: session.submit(text, { isAsync }).id, result: undefined };
      const command = session.submit(text, { isAsync, signal });
      return { id: command.id, result: await result(command, session, signal) };
    },
    async command(caller, sandbox, sessionId, commandId) {
      if (sessionId === ENTRYPOINT_ID) return entrypointCommand(await this.entrypoint(caller, sandbox), commandId);
      return (await find(caller, sandbox, sessionId)).session.command(commandId);
    },
    async logs(caller, sandbox, sessionId, commandId) {
      if (sessionId === ENTRYPOINT_ID) {
        entrypointCommand(await this.entrypoint(caller, sandbox), commandId);
        return this.entrypointLogs(caller, sandbox);
      }
      const { entered, session } = await find(caller, sandbox, sessionId);
      return followable(entered.row.id, session.logs(commandId));
    },
    async input(caller, { sandbox, sessionId, commandId }, data, signal) {
      const { entered, session } = await find(caller, sandbox, sessionId);
      // Programs that ask read a line.
      const line = data.endsWith('\n') ? data : `${data}\n`;
      const endUse = context.activity.begin(entered.row.id);
      try {
        await session.input(commandId, Buffer.from(line), signal);
      } finally {
        endUse();
      }
    },
    async entrypoint(caller, sandbox) {
      const { row } = await enter(caller, sandbox);
      await context.entrypoints.ready(row.id);
      return entrypointInfo(context.entrypoints.status(row.id));
    },
    async entrypointLogs(caller, sandbox) {
      const { row } = await enter(caller, sandbox);
      await context.entrypoints.ready(row.id);
      return followable(row.id, entrypointLogs(context.entrypoints.status(row.id)));
    },
    sandboxEnded(sandboxId) {
      const own = [...(bySandbox.get(sandboxId)?.values() ?? [])];
      for (const session of own) {
        const closed = closeSession(sandboxId, session, `The sandbox of session ${session.id} has stopped`);
        context.background(`end session ${session.id} of sandbox ${sandboxId}`, closed);
      }
      bySandbox.delete(sandboxId);
    },
    async close() {
      const closing = [...bySandbox].flatMap(([sandboxId, own]) =>
        [...own.values()].map((session) =>
          closeSession(sandboxId, session, 'The server is stopping').catch((error: unknown) =>
            context.log.error({ sandboxId, err: error }, `end a session: ${messageOf(error)}`),
          ),
        ),
      );
      await Promise.all(closing);
    },
  };
}
