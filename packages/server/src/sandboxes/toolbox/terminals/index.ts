import { randomUUID } from 'node:crypto';
import { conflict, invalidRequest, messageOf, notFound } from '../../../platform/errors.ts';
import { checkEnvironment } from '../../environment.ts';
import { resolvePath } from '../../profile.ts';
import type { Caller, SandboxContext } from '../../types.ts';
import { type Entered, enterSandbox, shellOf } from '../enter.ts';
import { type TerminalInfo, TerminalSession } from './terminal-session.ts';

export type { Seat, TerminalInfo, TerminalSession } from './terminal-session.ts';
export type { TerminalEnd, TerminalViewer } from './viewers.ts';

/** Each is some processes in the sandbox and some descriptors here. */
const MAX_TERMINALS = 64;
/** Those that ended are kept so that their end can be asked for, and in a list. */
const MAX_ENDED = 32;
const MAX_SIDE = 1000;
const DEFAULT_SIZE = { cols: 80, rows: 24 };
const ID = /^[^/?#\p{C}]{1,128}$/u;

export interface TerminalRequest {
  /** Made up when there is none. */
  id?: string | undefined;
  cwd?: string | undefined;
  env?: Readonly<Record<string, string>> | undefined;
  cols?: number | undefined;
  rows?: number | undefined;
  lazyStart?: boolean | undefined;
}

/** Terminals with a shell in running sandboxes. They end with the sandbox, and with the server. */
export interface Terminals {
  /** Raises `conflict` when one with this id runs. Resolves when it has started, unless it starts lazily. */
  create(caller: Caller, sandbox: string, request: TerminalRequest): Promise<TerminalSession>;
  list(caller: Caller, sandbox: string): Promise<TerminalInfo[]>;
  get(caller: Caller, sandbox: string, id: string): Promise<TerminalInfo>;
  resize(caller: Caller, sandbox: string, id: string, size: { cols: number; rows: number }): Promise<TerminalInfo>;
  /** Resolves when everything that was started in it has ended. */
  remove(caller: Caller, sandbox: string, id: string): Promise<void>;
  /** Started, if it was not. */
  connect(caller: Caller, sandbox: string, id: string): Promise<TerminalSession>;
  /** Its sandbox runs no more: its terminals are gone, and whoever looks at them is told. */
  sandboxEnded(sandboxId: string): void;
  /** Ends them all. */
  close(): Promise<void>;
}

export function createTerminals(context: SandboxContext): Terminals {
  const bySandbox = new Map<string, Map<string, TerminalSession>>();

  const of = (sandboxId: string) => bySandbox.get(sandboxId) ?? new Map<string, TerminalSession>();

  async function find(caller: Caller, sandbox: string, id: string): Promise<TerminalSession> {
    const { row } = await enterSandbox(context, caller, sandbox);
    const session = of(row.id).get(id);
    if (session === undefined) throw notFound(`PTY session ${id} not found`);
    return session;
  }

  /** Gives the id away at once, so that of two who want it at the same time one gets it. */
  function add(sandboxId: string, id: string, session: TerminalSession): void {
    const known = of(sandboxId);
    if (known.get(id)?.hasEnded === false) throw conflict(`PTY session ${id} already exists`);
    const ended = [...known].filter(([, { hasEnded }]) => hasEnded).map(([name]) => name);
    if (known.size - ended.length >= MAX_TERMINALS) {
      throw conflict(`A sandbox has at most ${MAX_TERMINALS} PTY sessions`, { hint: 'Delete some of them first.' });
    }
    for (const name of ended.slice(0, Math.max(0, ended.length - MAX_ENDED))) known.delete(name);
    known.delete(id);
    known.set(id, session);
    bySandbox.set(sandboxId, known);
  }

  function forget(sandboxId: string, id: string, session: TerminalSession): void {
    const known = bySandbox.get(sandboxId);
    if (known?.get(id) === session) known.delete(id);
    if (known?.size === 0) bySandbox.delete(sandboxId);
  }

  function sessionOf({ row, profile, env }: Entered, id: string, request: TerminalRequest): TerminalSession {
    const argv = [shellOf(profile)];
    const cwd = request.cwd ? resolvePath(profile, request.cwd) : profile.workDir;
    return new TerminalSession({
      id,
      cwd,
      env: request.env ?? {},
      ...checkSize({ cols: request.cols || DEFAULT_SIZE.cols, rows: request.rows || DEFAULT_SIZE.rows }),
      lazyStart: request.lazyStart ?? false,
      open: (size) =>
        context.runtime.openTerminal(row.id, {
          argv,
          cwd,
          user: profile.user,
          env: { TERM: 'xterm-256color', SHELL: argv[0] ?? '', ...env, ...request.env },
          ...size,
        }),
      beginUse: () => context.activity.begin(row.id),
      touch: () => context.activity.touch(row.id),
    });
  }

  return {
    async create(caller, sandbox, request) {
      const id = request.id || randomUUID();
      if (!ID.test(id)) throw invalidRequest('The id of a PTY session has 1 to 128 characters, without / ? and #');
      checkEnvironment(request.env ?? {});
      const entered = await enterSandbox(context, caller, sandbox);
      const session = sessionOf(entered, id, request);
      add(entered.row.id, id, session);
      if (request.lazyStart) return session;
      try {
        await session.start();
        return session;
      } catch (error) {
        forget(entered.row.id, id, session);
        throw error;
      }
    },
    async list(caller, sandbox) {
      const { row } = await enterSandbox(context, caller, sandbox);
      return [...of(row.id).values()].map(({ info }) => info);
    },
    get: async (caller, sandbox, id) => (await find(caller, sandbox, id)).info,
    async resize(caller, sandbox, id, size) {
      const session = await find(caller, sandbox, id);
      session.resize(checkSize(size));
      return session.info;
    },
    async remove(caller, sandbox, id) {
      const { row } = await enterSandbox(context, caller, sandbox);
      const session = of(row.id).get(id);
      if (session === undefined) throw notFound(`PTY session ${id} not found`);
      forget(row.id, id, session);
      await session.kill({ exitCode: 137, reason: 'the PTY session was deleted' });
    },
    async connect(caller, sandbox, id) {
      const session = await find(caller, sandbox, id);
      await session.start();
      return session;
    },
    sandboxEnded(sandboxId) {
      const sessions = [...of(sandboxId).values()];
      bySandbox.delete(sandboxId);
      for (const session of sessions) session.abandon({ exitCode: 137, reason: 'the sandbox stopped' });
    },
    async close() {
      const sessions = [...bySandbox.values()].flatMap((known) => [...known.values()]);
      bySandbox.clear();
      const end = { exitCode: 137, reason: 'the server stopped' };
      const kills = sessions.filter(({ hasEnded }) => !hasEnded).map((session) => session.kill(end));
      for (const result of await Promise.allSettled(kills)) {
        if (result.status === 'rejected') context.log.warn({}, `end a terminal: ${messageOf(result.reason)}`);
      }
    },
  };
}

function checkSize(size: { cols: number; rows: number }): { cols: number; rows: number } {
  for (const side of [size.cols, size.rows]) {
    if (!Number.isInteger(side) || side < 1 || side > MAX_SIDE) {
      throw invalidRequest(`The size of a terminal is between 1x1 and ${MAX_SIDE}x${MAX_SIDE}`);
    }
  }
  return { cols: size.cols, rows: size.rows };
}
