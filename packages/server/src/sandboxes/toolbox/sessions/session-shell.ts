import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecProcess, ExecSpec, SandboxRuntime } from '../../../runtime/types.ts';
import { InputPipe } from './input-pipe.ts';
import { type Marker, MarkerScanner } from './marker-scanner.ts';
import type { OutputStream } from './session-log.ts';
import { commandText, setupText, supervisorArgv } from './shell-program.ts';

/** What a killed process wrote is in its pipes when it ends; whoever else holds them is killed with it. */
const LAST_OUTPUT_MS = 500;

export interface ShellEnd {
  /** Of the shell; undefined when everything of the session was killed. */
  exitCode: number | undefined;
}

interface Running {
  number: number;
  status: number;
  /** Outputs on which the command has not ended yet. */
  open: Set<OutputStream>;
  done: (result: number | ShellEnd) => void;
}

export interface SessionShellOptions {
  shell: string;
  exec: Omit<ExecSpec, 'argv' | 'inputFd'>;
  /** Takes what the commands write; the shell waits for it. */
  onOutput: (stream: OutputStream, data: Buffer) => Promise<void>;
}

/** A shell in a sandbox that runs one command after another. What a command changes in it is there for the next. */
export class SessionShell {
  /** Resolves when no further command can run. */
  readonly ended: Promise<ShellEnd>;
  readonly input: InputPipe;
  readonly #process: ExecProcess;
  readonly #options: SessionShellOptions;
  readonly #token: string;
  readonly #end = Promise.withResolvers<ShellEnd>();
  readonly #endsSeen = new Set<OutputStream>();
  #exitCode: number | undefined;
  #hasEnded = false;
  #lastNumber = 0;
  #running: Running | undefined;

  static async start(
    runtime: Pick<SandboxRuntime, 'exec'>,
    sandboxId: string,
    options: SessionShellOptions,
  ): Promise<SessionShell> {
    const input = new InputPipe();
    try {
      const argv = supervisorArgv(options.shell);
      const process = await runtime.exec(sandboxId, { ...options.exec, argv, inputFd: input.theirs });
      return new SessionShell(process, input, options);
    } catch (error) {
      input.close();
      throw error;
    } finally {
      input.closeTheirs();
    }
  }

  private constructor(process: ExecProcess, input: InputPipe, options: SessionShellOptions) {
    this.#process = process;
    this.input = input;
    this.#options = options;
    this.#token = randomBytes(16).toString('hex');
    this.ended = this.#end.promise;
    const outputs = Promise.all([this.#read('stdout', process.stdout), this.#read('stderr', process.stderr)]);
    const gone = async () => {
      await Promise.race([outputs, delay(LAST_OUTPUT_MS, undefined, { ref: false })]);
      this.#finish();
      this.#release();
    };
    process.exited.then(gone, gone);
    process.stdin.on('error', () => {});
    process.stdin.write(setupText(this.#token));
  }

  /** Its exit code, when it has ended and all that it wrote was taken; `ShellEnd` when the shell ended instead. One at a time. */
  run(command: string, options: { readsInput: boolean }): Promise<number | ShellEnd> {
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    const { promise, resolve } = Promise.withResolvers<number | ShellEnd>();
    this.#running = { number, status: 0, open: new Set(['stdout', 'stderr']), done: resolve };
    if (this.#hasEnded) this.#finish();
    const { shell } = this.#options;
    this.#process.stdin.write(commandText({ shell, token: this.#token, number, ...options }, command));
    return promise;
  }

  /** Ends everything that was started in it. Resolves when all is gone. */
  async kill(): Promise<void> {
    await this.#process.killTree();
    await this.ended;
  }

  async #read(stream: OutputStream, source: Readable): Promise<void> {
    const scanner = new MarkerScanner(this.#token);
    try {
      for await (const chunk of source) {
        for (const item of scanner.push(Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk)))) {
          if ('marker' in item) this.#onMarker(stream, item.marker);
          else await this.#options.onOutput(stream, item.data);
        }
      }
    } catch {
      // A broken pipe ends the output; the process's own end says how.
    }
    const rest = scanner.end();
    if (rest.length > 0) await this.#options.onOutput(stream, rest);
  }

  #onMarker(stream: OutputStream, { name, status }: Marker): void {
    if (name === 'end') {
      if (stream === 'stdout') this.#exitCode = status;
      this.#endsSeen.add(stream);
      if (this.#endsSeen.size === 2) this.#finish();
      return;
    }
    const running = this.#running;
    // Not of this command: something in the sandbox imitates us, and harms only itself.
    if (running === undefined || running.number !== name) return;
    if (stream === 'stdout') running.status = status;
    running.open.delete(stream);
    if (running.open.size > 0) return;
    this.#running = undefined;
    running.done(running.status);
  }

  #finish(): void {
    this.#hasEnded = true;
    const end: ShellEnd = { exitCode: this.#exitCode };
    this.#end.resolve(end);
    this.#running?.done(end);
    this.#running = undefined;
  }

  #release(): void {
    this.input.close();
    const { stdin, stdout, stderr } = this.#process;
    for (const stream of [stdin, stdout, stderr]) stream.destroy();
  }
}
