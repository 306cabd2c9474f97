import { setTimeout as delay } from 'node:timers/promises';
import { conflict, DarkroomError, invalidRequest, messageOf, notFound } from '../../../platform/errors.ts';
import { type CommandInfo, commandInfo, newCommand, type SessionCommand, type SessionInfo } from './command.ts';
import { type CommandLogs, commandLogs } from './command-logs.ts';
import { SessionLog } from './session-log.ts';
import type { SessionShell, SessionShellOptions, ShellEnd } from './session-shell.ts';

export const MAX_COMMAND_BYTES = 1024 * 1024;
const MAX_WAITING = 100;
/** The oldest are forgotten first. */
const MAX_KEPT_COMMANDS = 2_000;
const MAX_KEPT_TEXT_BYTES = 8 * 1024 * 1024;
const READY_TIMEOUT_MS = 20_000;
/** How long input waits for a command that does not read it. */
const INPUT_TIMEOUT_MS = 30_000;
const INPUT_RETRY_MS = 20;
const KILLED = 137;

export interface SessionOptions {
  id: string;
  directory: string;
  maxLogBytes: number;
  startShell: (onOutput: SessionShellOptions['onOutput']) => Promise<SessionShell>;
  /** What the command's output cannot tell of its failure, for its stderr. */
  noteOnFailure: () => Promise<string | undefined>;
  /** Called when a command begins; what it returns, when it has ended. */
  beginUse: () => () => void;
}

/** A shell, the commands that were and will be run in it, and what they wrote. */
export class Session {
  readonly id: string;
  readonly #options: SessionOptions;
  readonly #log: SessionLog;
  readonly #commands = new Map<string, SessionCommand>();
  readonly #waiting: SessionCommand[] = [];
  readonly #shell: Promise<SessionShell>;
  #isWorking = false;
  /** The one that began last. */
  #latest: SessionCommand | undefined;
  /** Why no further command is taken. */
  #over: DarkroomError | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: SessionOptions) {
    this.id = options.id;
    this.#options = options;
    this.#log = new SessionLog({ directory: options.directory, maxBytes: options.maxLogBytes });
    this.#shell = this.#start();
    this.#shell.catch(() => {});
  }

  /** Resolves when the shell takes commands. */
  async ready(): Promise<void> {
    await this.#shell;
    if (this.#over !== undefined) throw this.#over;
  }

  info(): SessionInfo {
    return { sessionId: this.id, commands: [...this.#commands.values()].map(commandInfo) };
  }

  command(id: string): CommandInfo {
    return commandInfo(this.#find(id));
  }

  logs(id: string): CommandLogs {
    return commandLogs(this.#log, this.#find(id));
  }

  /** Runs it when those before it have ended; one that nobody waits for any more (`signal`) does not begin. */
  submit(text: string, options: { isAsync: boolean; signal?: AbortSignal }): SessionCommand {
    if (this.#over !== undefined) throw this.#over;
    if (this.#waiting.length >= MAX_WAITING) {
      throw conflict(`Session ${this.id} has ${MAX_WAITING} commands waiting.`, {
        retryable: true,
        hint: 'They run one after another; use several sessions to run commands side by side.',
      });
    }
    const command = newCommand(text, options.isAsync);
    this.#commands.set(command.id, command);
    this.#waiting.push(command);
    const { signal } = options;
    if (signal !== undefined) {
      const withdraw = () => this.#withdraw(command);
      signal.addEventListener('abort', withdraw, { once: true });
      command.ended.then(() => signal.removeEventListener('abort', withdraw));
    }
    this.#forgetOldest();
    this.#work();
    return command;
  }

  /** Resolves when the command's input has taken it all. */
  async input(id: string, data: Buffer, signal: AbortSignal): Promise<void> {
    const command = this.#find(id);
    if (!command.isAsync) throw invalidRequest(`Command ${id} was not started with runAsync: its input is empty`);
    const shell = await this.#shell;
    const deadline = performance.now() + INPUT_TIMEOUT_MS;
    for (let rest = data; ; ) {
      if (command.state === 'ended') throw invalidRequest(`Command ${id} has ended`);
      if (command.state === 'running') rest = rest.subarray(shell.input.write(rest));
      if (rest.length === 0) return;
      signal.throwIfAborted();
      if (performance.now() > deadline) {
        throw conflict(`Command ${id} has not taken its input: ${rest.length} of ${data.length} bytes are left`, {
          retryable: true,
        });
      }
      await delay(INPUT_RETRY_MS);
    }
  }

  /** Ends everything that was started in it, and answers whoever waits. The second call waits for the first. */
  close(reason: string): Promise<void> {
    this.#closing ??= this.#close(reason);
    return this.#closing;
  }

  async #close(reason: string): Promise<void> {
    this.#over = conflict(reason);
    for (const command of this.#waiting.splice(0)) this.#end(command, { failure: this.#over });
    try {
      const shell = await this.#shell.catch(() => undefined);
      await shell?.kill();
    } finally {
      await this.#log.close();
    }
  }

  async #start(): Promise<SessionShell> {
    const shell = await this.#options.startShell((stream, data) => this.#log.append(stream, data));
    const timer = setTimeout(() => void shell.kill().catch(() => {}), READY_TIMEOUT_MS);
    const first = await shell.run(':', { readsInput: false }).finally(() => clearTimeout(timer));
    if (typeof first === 'number') {
      shell.ended.then((end) => this.#onShellEnd(end));
      return shell;
    }
    await shell.kill().catch(() => {});
    const words = await this.#words();
    throw new DarkroomError('unavailable', `The shell of session ${this.id} did not start${words}`);
  }

  async #words(): Promise<string> {
    const pieces: Buffer[] = [];
    for await (const { data } of this.#log.read(0, Math.min(this.#log.end, 4096))) pieces.push(data);
    const text = Buffer.concat(pieces).toString('utf8').trim().slice(0, 1000);
    return text === '' ? '' : `: ${text}`;
  }

  #onShellEnd({ exitCode }: ShellEnd): void {
    const how = exitCode === undefined ? 'its processes were killed' : `its shell exited with code ${exitCode}`;
    this.#over ??= conflict(`Session ${this.id} has ended: ${how}.`, { hint: 'Delete it and create another.' });
    this.#work();
  }

  #work(): void {
    if (this.#isWorking) return;
    this.#isWorking = true;
    this.#runWaiting();
  }

  async #runWaiting(): Promise<void> {
    let shell: SessionShell | undefined;
    try {
      shell = await this.#shell;
    } catch (cause) {
      this.#over ??= conflict(`Session ${this.id} did not start: ${messageOf(cause)}`, { cause });
    }
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (shell === undefined || this.#over !== undefined) this.#end(next, { failure: this.#over });
      else await this.#runOne(shell, next);
    }
    // In the same turn in which nothing more was found to wait: what is submitted from here on finds nobody at work.
    this.#isWorking = false;
  }

  async #runOne(shell: SessionShell, command: SessionCommand): Promise<void> {
    const endUse = this.#options.beginUse();
    try {
      shell.input.drain();
      this.#begin(command);
      const result = await shell.run(command.text, { readsInput: command.isAsync });
      const exitCode = typeof result === 'number' ? result : result.exitCode;
      if (exitCode !== 0) await this.#noteFailure();
      if (typeof result === 'number') this.#end(command, { exitCode: result });
      else if (result.exitCode !== undefined) this.#end(command, { exitCode: result.exitCode });
      else this.#end(command, { failure: this.#over ?? conflict(`Session ${this.id} was killed`) });
    } catch (cause) {
      this.#end(command, { failure: new DarkroomError('internal', `a command of session ${this.id}`, { cause }) });
    } finally {
      endUse();
    }
  }

  async #noteFailure(): Promise<void> {
    const note = await this.#options.noteOnFailure();
    if (note !== undefined) await this.#log.append('stderr', Buffer.from(note));
  }

  #begin(command: SessionCommand): void {
    command.from = this.#log.end;
    if (this.#latest !== undefined) this.#latest.until ??= command.from;
    this.#latest = command;
    command.state = 'running';
    this.#log.changes.notify();
  }

  #end(command: SessionCommand, how: { exitCode: number } | { failure: DarkroomError | undefined }): void {
    if (command.state === 'ended') return;
    if (command.state === 'waiting') {
      command.from = this.#log.end;
      command.until = command.from;
    }
    command.state = 'ended';
    command.end = this.#log.end;
    if ('exitCode' in how) {
      command.exitCode = how.exitCode;
    } else {
      // Clients ask again and again until there is one.
      command.exitCode = KILLED;
      command.failure = how.failure;
    }
    this.#log.changes.notify();
    command.markEnded();
  }

  #withdraw(command: SessionCommand): void {
    const at = this.#waiting.indexOf(command);
    if (at === -1) return;
    this.#waiting.splice(at, 1);
    this.#commands.delete(command.id);
    this.#end(command, { failure: conflict('the client closed the connection before the command began') });
  }

  #forgetOldest(): void {
    let bytes = 0;
    for (const { text } of this.#commands.values()) bytes += text.length;
    for (const command of this.#commands.values()) {
      if (this.#commands.size <= MAX_KEPT_COMMANDS && bytes <= MAX_KEPT_TEXT_BYTES) return;
      if (command.state !== 'ended') return;
      this.#commands.delete(command.id);
      bytes -= command.text.length;
    }
  }

  #find(id: string): SessionCommand {
    const command = this.#commands.get(id);
    if (command === undefined) throw notFound(`Command ${id} not found in session ${this.id}`);
    return command;
  }
}
