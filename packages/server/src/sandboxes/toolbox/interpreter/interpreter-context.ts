import { setTimeout as delay } from 'node:timers/promises';
import { conflict, type DarkroomError, invalidRequest } from '../../../platform/errors.ts';
import type { ExecProcess } from '../../../runtime/types.ts';
import { InterpreterProcess, type RunOutcome, type ShowOutput } from './interpreter-process.ts';

const START_MS = 60_000;
/** Between asking a run to end and ending its process. */
const INTERRUPT_MS = 3_000;
const KILL_MS = 5_000;
const MAX_WAITING = 64;

export interface RunRequest {
  code: string;
  envs: Readonly<Record<string, string>>;
  timeoutMs: number;
}

export type RunResult = { outcome: 'completed'; run: RunOutcome } | { outcome: 'timeout' } | { outcome: 'interrupted' };

/** Variables, imports and functions that live from one run to the next. Runs of a context come one after another. */
export class InterpreterContext {
  readonly #open: () => Promise<ExecProcess>;
  #process: InterpreterProcess | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #closed: DarkroomError | undefined;

  constructor(open: () => Promise<ExecProcess>) {
    this.#open = open;
  }

  get isActive(): boolean {
    return this.#closed === undefined && this.#process?.hasEnded === false;
  }

  /** Raises `invalid_request` when the sandbox has no Python. */
  start(): Promise<void> {
    return this.#inTurn(async () => void (await this.#running()));
  }

  /** A run that is not done in time or not wanted any more is interrupted; its process ends only if that does not help. */
  run(request: RunRequest, show: ShowOutput, signal: AbortSignal): Promise<RunResult> {
    return this.#inTurn(async () => {
      if (signal.aborted) return { outcome: 'interrupted' };
      const process = await this.#running();
      const stop = Promise.withResolvers<'timeout' | 'interrupted'>();
      const timer = setTimeout(() => stop.resolve('timeout'), request.timeoutMs);
      const onAbort = () => stop.resolve('interrupted');
      signal.addEventListener('abort', onAbort, { once: true });
      if (signal.aborted) onAbort();
      let isShown = true;
      const done = process.run(request.code, request.envs, (name, text) => (isShown ? show(name, text) : undefined));
      try {
        const first = await Promise.race([done, stop.promise]);
        if (typeof first !== 'string') return { outcome: 'completed', run: first };
        isShown = false;
        await this.#interrupt(process, done);
        return { outcome: first };
      } finally {
        clearTimeout(timer);
        signal.removeEventListener('abort', onAbort);
      }
    });
  }

  /** Ends its process; runs that wait are refused. */
  async close(why: DarkroomError): Promise<void> {
    this.#closed ??= why;
    await this.#process?.kill();
  }

  /** Its sandbox is gone, and its process with it. */
  abandon(why: DarkroomError): void {
    this.#closed ??= why;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING) throw conflict(`${MAX_WAITING} runs wait for this context already`);
    this.#waiting += 1;
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      this.#waiting -= 1;
    }
  }

  async #running(): Promise<InterpreterProcess> {
    if (this.#closed !== undefined) throw this.#closed;
    if (this.#process?.hasEnded === false) return this.#process;
    const child = await this.#open();
    const process = new InterpreterProcess(child);
    this.#process = process;
    let words = '';
    const timer = setTimeout(() => void process.kill().catch(() => {}), START_MS);
    const first = await process
      .run('', {}, (name, text) => {
        if (name === 'stderr') words = (words + text).slice(-2000);
      })
      .finally(() => clearTimeout(timer));
    if (this.#closed !== undefined) {
      await process.kill();
      throw this.#closed;
    }
    if (!first.died) return process;
    const { exitCode } = await child.exited;
    if (exitCode === 126 || exitCode === 127) {
      throw invalidRequest('Python is not installed in this sandbox: python3 is not in its PATH.');
    }
    throw invalidRequest(`The Python of this sandbox cannot be used: ${words.trim() || `exit code ${exitCode}`}`);
  }

  async #interrupt(process: InterpreterProcess, done: Promise<unknown>): Promise<void> {
    process.interrupt();
    const ended = done.then(() => true);
    if (await Promise.race([ended, delay(INTERRUPT_MS, false, { ref: false })])) return;
    await Promise.race([process.kill().catch(() => {}), delay(KILL_MS, undefined, { ref: false })]);
  }
}
