import { randomUUID } from 'node:crypto';
import { conflict, invalidRequest, messageOf, notFound } from '../../../platform/errors.ts';
import { checkEnvironment } from '../../environment.ts';
import { lookForOomKills } from '../../out-of-memory.ts';
import { resolvePath } from '../../profile.ts';
import type { Caller, SandboxContext } from '../../types.ts';
import { type Entered, enterSandbox } from '../enter.ts';
import { DRIVER } from './driver.ts';
import { InterpreterContext, type RunResult } from './interpreter-context.ts';
import type { ShowOutput } from './interpreter-process.ts';

export type { RunResult } from './interpreter-context.ts';
export type { CodeError, OutputName, RunOutcome, ShowOutput } from './interpreter-process.ts';

/** Of one sandbox: each is a Python process of some ten megabytes. */
const MAX_CONTEXTS = 32;
/** What clients count on when they name no time-out. */
const DEFAULT_TIMEOUT_SECONDS = 600;
const LANGUAGE = 'python';

export interface ContextInfo {
  id: string;
  cwd: string;
  language: string;
  createdAt: Date;
  /** Its process runs. */
  active: boolean;
}

export interface CodeRequest {
  code: string;
  /** Of a context that was created; the sandbox's own where there is none. */
  contextId?: string | undefined;
  envs?: Readonly<Record<string, string>> | undefined;
  /** 0 is as long as the server allows. */
  timeoutSeconds?: number | undefined;
}

/** Python that keeps its state from run to run, in running sandboxes. It ends with the sandbox, and with the server. */
export interface Interpreters {
  /** Resolves when it has started. */
  create(
    caller: Caller,
    sandbox: string,
    request: { cwd?: string | undefined; language?: string | undefined },
  ): Promise<ContextInfo>;
  /** Those that were created; the sandbox's own is not among them. */
  list(caller: Caller, sandbox: string): Promise<ContextInfo[]>;
  /** Resolves when everything that was started in it has ended. */
  remove(caller: Caller, sandbox: string, id: string): Promise<void>;
  /** For a run whose request is not known yet. */
  enter(caller: Caller, sandbox: string): Promise<RunCode>;
  /** Its sandbox runs no more. */
  sandboxEnded(sandboxId: string): void;
  close(): Promise<void>;
}

/** Runs code to its end. When the signal fires it is interrupted, and its context is kept if it lets itself be. */
export type RunCode = (request: CodeRequest, show: ShowOutput, signal: AbortSignal) => Promise<RunResult>;

interface Known {
  /** Undefined for the sandbox's own. */
  info: Omit<ContextInfo, 'active'> | undefined;
  context: InterpreterContext;
}

const OWN = '';

export function createInterpreters(context: SandboxContext): Interpreters {
  const bySandbox = new Map<string, Map<string, Known>>();

  function knownOf(sandboxId: string): Map<string, Known> {
    const known = bySandbox.get(sandboxId) ?? new Map<string, Known>();
    bySandbox.set(sandboxId, known);
    return known;
  }

  function open({ row, profile, env }: Entered, cwd: string): InterpreterContext {
    return new InterpreterContext(() =>
      context.runtime.exec(row.id, {
        argv: ['python3', '-u', '-X', 'utf8', '-c', DRIVER],
        cwd,
        user: profile.user,
        env,
      }),
    );
  }

  function find(entered: Entered, contextId: string | undefined): InterpreterContext {
    const known = knownOf(entered.row.id);
    const found = known.get(contextId || OWN);
    if (found !== undefined) return found.context;
    if (contextId) throw notFound(`Interpreter context ${contextId} not found`);
    const own = open(entered, entered.profile.workDir);
    known.set(OWN, { info: undefined, context: own });
    return own;
  }

  /** A signal alone does not say that it was for want of memory. */
  async function withReason({ row }: Entered, result: RunResult): Promise<RunResult> {
    if (result.outcome !== 'completed' || !result.run.died || result.run.error === undefined) return result;
    if (!(await lookForOomKills(context, { id: row.id, organizationId: row.organization_id }))) return result;
    const value = `${result.run.error.value}. The sandbox reached its memory limit: use less, or resize it.`;
    return { ...result, run: { ...result.run, error: { ...result.run.error, value } } };
  }

  return {
    async create(caller, sandbox, request) {
      if (request.language && request.language.toLowerCase() !== LANGUAGE) {
        throw invalidRequest(
          `Language ${JSON.stringify(request.language)} is not supported by the interpreter; ${LANGUAGE} is.`,
        );
      }
      const entered = await enterSandbox(context, caller, sandbox);
      const known = knownOf(entered.row.id);
      if (known.size >= MAX_CONTEXTS) {
        throw conflict(`A sandbox has at most ${MAX_CONTEXTS} interpreter contexts`, {
          hint: 'Delete some of them first.',
        });
      }
      const cwd = request.cwd ? resolvePath(entered.profile, request.cwd) : entered.profile.workDir;
      const info = { id: randomUUID(), cwd, language: LANGUAGE, createdAt: new Date() };
      const made = open(entered, cwd);
      known.set(info.id, { info, context: made });
      try {
        await made.start();
      } catch (error) {
        known.delete(info.id);
        throw error;
      }
      return { ...info, active: made.isActive };
    },
    async list(caller, sandbox) {
      const { row } = await enterSandbox(context, caller, sandbox);
      return [...knownOf(row.id).values()].flatMap(({ info, context: made }) =>
        info === undefined ? [] : [{ ...info, active: made.isActive }],
      );
    },
    async remove(caller, sandbox, id) {
      const { row } = await enterSandbox(context, caller, sandbox);
      const known = knownOf(row.id);
      const found = known.get(id);
      if (found?.info === undefined) throw notFound(`Interpreter context ${id} not found`);
      known.delete(id);
      await found.context.close(notFound(`Interpreter context ${id} was deleted`));
    },
    async enter(caller, sandbox) {
      const entered = await enterSandbox(context, caller, sandbox);
      return async ({ code, contextId, envs = {}, timeoutSeconds }, show, signal) => {
        if (code.trim() === '') throw invalidRequest('code is required');
        checkEnvironment(envs);
        const { maxExecSeconds } = context.settings;
        const seconds = Math.min((timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS) || maxExecSeconds, maxExecSeconds);
        const endUse = context.activity.begin(entered.row.id);
        try {
          const result = await find(entered, contextId).run({ code, envs, timeoutMs: seconds * 1000 }, show, signal);
          return await withReason(entered, result);
        } finally {
          endUse();
        }
      };
    },
    sandboxEnded(sandboxId) {
      for (const known of bySandbox.get(sandboxId)?.values() ?? []) {
        known.context.abandon(invalidRequest('The sandbox was stopped'));
      }
      bySandbox.delete(sandboxId);
    },
    async close() {
      const all = [...bySandbox.values()].flatMap((known) => [...known.values()]);
      bySandbox.clear();
      const why = conflict('The server stops', { retryable: true });
      for (const result of await Promise.allSettled(all.map((known) => known.context.close(why)))) {
        if (result.status === 'rejected') context.log.warn({}, `end an interpreter: ${messageOf(result.reason)}`);
      }
    },
  };
}
