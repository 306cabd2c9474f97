import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import type { ExecProcess } from '../../../runtime/types.ts';
import { RunMarks } from './run-marks.ts';

/** What the last words of a process that has ended may take to come. */
const LAST_WORDS_MS = 500;

export type OutputName = 'stdout' | 'stderr';

/** Takes what the code writes; the code waits as long as a promise is not kept. */
export type ShowOutput = (name: OutputName, text: string) => void | Promise<void>;

export interface CodeError {
  name: string;
  value: string;
  traceback: string;
}

export interface RunOutcome {
  error: CodeError | undefined;
  /** The process ended during the run, and its state with it. */
  died: boolean;
}

const endingSchema = z.union([
  z.object({ name: z.string(), value: z.string(), traceback: z.string() }),
  z.object({}).transform(() => undefined),
]);

interface CurrentRun {
  id: string;
  show: ShowOutput;
  decoders: Record<OutputName, StringDecoder>;
  ended: Set<OutputName>;
  done: PromiseWithResolvers<RunOutcome>;
  error: CodeError | undefined;
}

/** A Python process with the driver in it: one run at a time, and what one leaves behind the next one finds. */
export class InterpreterProcess {
  readonly #child: ExecProcess;
  readonly #marks = { stdout: new RunMarks(), stderr: new RunMarks() };
  #current: CurrentRun | undefined;
  #hasEnded = false;

  constructor(child: ExecProcess) {
    this.#child = child;
    child.stdin.on('error', () => {});
    const read = Promise.all([this.#read('stdout', child.stdout), this.#read('stderr', child.stderr)]);
    const exited = child.exited.then(
      ({ exitCode, signal }) => signal ?? `exit code ${exitCode}`,
      () => 'its sandbox',
    );
    exited
      .then(async (how) => {
        this.#hasEnded = true;
        await Promise.race([read, delay(LAST_WORDS_MS)]);
        child.stdout.destroy();
        child.stderr.destroy();
        child.stdin.destroy();
        const value = `The interpreter ended (${how}); its variables are gone`;
        this.#current?.done.resolve({ error: { name: 'InterpreterExited', value, traceback: '' }, died: true });
      })
      .catch(() => {});
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  async run(code: string, envs: Readonly<Record<string, string>>, show: ShowOutput): Promise<RunOutcome> {
    const run: CurrentRun = {
      id: randomBytes(16).toString('hex'),
      show,
      decoders: { stdout: new StringDecoder('utf8'), stderr: new StringDecoder('utf8') },
      ended: new Set(),
      done: Promise.withResolvers(),
      error: undefined,
    };
    this.#marks.stdout.expect(run.id);
    this.#marks.stderr.expect(run.id);
    this.#current = run;
    this.#child.stdin.write(`${JSON.stringify({ run: run.id, code, envs })}\n`);
    try {
      return await run.done.promise;
    } finally {
      this.#current = undefined;
    }
  }

  /** The run gets a KeyboardInterrupt, if it lets itself be interrupted. */
  interrupt(): void {
    if (this.#current !== undefined) this.#child.stdin.write(`${JSON.stringify({ interrupt: this.#current.id })}\n`);
  }

  async kill(): Promise<void> {
    await this.#child.killTree();
  }

  async #read(name: OutputName, stream: Readable): Promise<void> {
    try {
      for await (const chunk of stream) {
        for (const found of this.#marks[name].push(Buffer.isBuffer(chunk) ? chunk : Buffer.from(String(chunk)))) {
          // What comes between two runs, from threads and children, is nobody's.
          const run = this.#current;
          if (run === undefined) continue;
          if ('ending' in found) await this.#ended(run, name, found.ending);
          else await this.#show(run, name, run.decoders[name].write(found.text));
        }
      }
    } catch {
      // A broken pipe ends the output; the end of the process says what that meant.
    }
  }

  async #show(run: CurrentRun, name: OutputName, text: string): Promise<void> {
    if (text !== '') await run.show(name, text);
  }

  async #ended(run: CurrentRun, name: OutputName, ending: Buffer): Promise<void> {
    await this.#show(run, name, run.decoders[name].end());
    if (name === 'stderr') run.error = parseEnding(ending);
    run.ended.add(name);
    if (run.ended.size === 2) run.done.resolve({ error: run.error, died: false });
  }
}

function parseEnding(ending: Buffer): CodeError | undefined {
  try {
    return endingSchema.parse(JSON.parse(ending.toString('utf8')));
  } catch {
    // Only code that imitates the driver gets here.
    return { name: 'InterpreterError', value: 'how the run ended is not known', traceback: '' };
  }
}
