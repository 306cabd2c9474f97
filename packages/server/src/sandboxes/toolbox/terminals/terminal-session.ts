import { conflict, invalidRequest } from '../../../platform/errors.ts';
import type { TerminalProcess } from '../../../runtime/types.ts';
import { UnseenOutput } from './unseen-output.ts';
import { type TerminalEnd, type TerminalViewer, Viewers } from './viewers.ts';

/** What nobody has seen is kept up to here for the next viewer: some screens full. */
const UNSEEN_BYTES = 256 * 1024;
const MAX_VIEWERS = 32;
/** Between the end of the process and the end of its output, which a process of another session could hold open. */
const LINGER_MS = 5_000;

export interface TerminalInfo {
  id: string;
  cwd: string;
  env: Readonly<Record<string, string>>;
  cols: number;
  rows: number;
  createdAt: Date;
  /** Starts when somebody connects for the first time. */
  lazyStart: boolean;
  /** Its process runs. */
  active: boolean;
}

export interface TerminalSessionOptions
  extends Pick<TerminalInfo, 'id' | 'cwd' | 'env' | 'cols' | 'rows' | 'lazyStart'> {
  open(size: { cols: number; rows: number }): Promise<TerminalProcess>;
  /** Somebody uses the sandbox until the returned function is called. */
  beginUse(): () => void;
  /** It was used now. */
  touch(): void;
}

/** A viewer's place at a terminal. */
export interface Seat {
  /** `taken` is called when the terminal has it; a program that does not read makes that late. */
  type(data: Buffer, taken: () => void): void;
  drained(): void;
  leave(): void;
}

/** A terminal that is there whether anybody looks at it or not, from its creation until it is removed. */
export class TerminalSession {
  readonly #options: TerminalSessionOptions;
  readonly #createdAt = new Date();
  readonly #unseen = new UnseenOutput(UNSEEN_BYTES);
  readonly #viewers: Viewers;
  #size: { cols: number; rows: number };
  #starting: Promise<TerminalProcess> | undefined;
  #process: TerminalProcess | undefined;
  #end: TerminalEnd | undefined;
  #killed: TerminalEnd | undefined;

  constructor(options: TerminalSessionOptions) {
    this.#options = options;
    this.#size = { cols: options.cols, rows: options.rows };
    this.#viewers = new Viewers((open) => {
      const stream = this.#process?.stream;
      if (open) stream?.resume();
      else stream?.pause();
    });
  }

  get info(): TerminalInfo {
    const { id, cwd, env, lazyStart } = this.#options;
    const active = this.#process !== undefined && !this.hasEnded;
    return { id, cwd, env, lazyStart, ...this.#size, createdAt: this.#createdAt, active };
  }

  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /** Starts the process unless it was started. After a failure it may be tried again. */
  async start(): Promise<void> {
    if (this.hasEnded || this.#process !== undefined) return;
    this.#starting ??= this.#options.open(this.#size).finally(() => {
      this.#starting = undefined;
    });
    const process = await this.#starting;
    if (this.#process !== undefined) return;
    this.#process = process;
    process.resize(this.#size);
    this.#follow(process);
    if (this.#killed !== undefined) await this.kill(this.#killed);
  }

  resize(size: { cols: number; rows: number }): void {
    if (this.hasEnded) throw invalidRequest(`PTY session ${this.#options.id} is not active`);
    this.#size = size;
    this.#process?.resize(size);
  }

  attach(viewer: TerminalViewer): Seat {
    if (this.#viewers.size >= MAX_VIEWERS) throw conflict(`PTY session ${this.#options.id} has ${MAX_VIEWERS} clients`);
    const endUse = this.#options.beginUse();
    this.#viewers.add(viewer);
    const unseen = this.#unseen.take();
    if (unseen.length > 0) this.#viewers.showTo(viewer, unseen);
    if (this.#end !== undefined) {
      endUse();
      this.#viewers.endAll(this.#end);
    }
    return {
      type: (data, taken) => {
        const stream = this.#process?.stream;
        this.#options.touch();
        if (stream === undefined || stream.destroyed || !this.#viewers.has(viewer)) taken();
        else stream.write(data, () => taken());
      },
      drained: () => this.#viewers.drained(viewer),
      leave: () => {
        this.#viewers.remove(viewer);
        endUse();
      },
    };
  }

  /** Ends everything that was started in it; viewers are told `end`. */
  async kill(end: TerminalEnd): Promise<void> {
    this.#killed ??= end;
    try {
      await this.#process?.killTree();
    } finally {
      if (this.#process !== undefined || this.#starting === undefined) this.#finish(end);
    }
  }

  /** Its sandbox is not there any more. */
  abandon(end: TerminalEnd): void {
    this.#killed ??= end;
    this.#finish(end);
  }

  #follow(process: TerminalProcess): void {
    const { stream } = process;
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => {
      this.#options.touch();
      if (this.#viewers.size === 0) this.#unseen.push(chunk);
      else this.#viewers.show(chunk);
    });
    const closed = new Promise<void>((resolve) => stream.once('close', resolve));
    const exited = process.exited.then(
      ({ exitCode, signal }) => ({ exitCode, reason: reasonOf(exitCode, signal) }),
      () => ({ exitCode: 137, reason: 'the terminal ended with its sandbox' }),
    );
    exited
      .then(async (end) => {
        const linger = setInterval(() => {
          if (!this.#viewers.isHeld) stream.destroy();
        }, LINGER_MS);
        await closed;
        clearInterval(linger);
        this.#finish(this.#killed ?? end);
      })
      .catch(() => {});
  }

  #finish(end: TerminalEnd): void {
    this.#process?.stream.destroy();
    if (this.#end !== undefined) return;
    this.#end = end;
    this.#viewers.endAll(end);
  }
}

function reasonOf(exitCode: number, signal: string | undefined): string | undefined {
  if (signal !== undefined) return `ended by ${signal}`;
  return exitCode === 0 ? undefined : `exit code ${exitCode}`;
}
