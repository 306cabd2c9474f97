import type { FileHandle } from 'node:fs/promises';
import type { Log } from '../../platform/log.ts';
import type { BuildLogWriter, LogLine } from './build-log.ts';
import { type OpenedLog, writeAt } from './log-file.ts';
import { encodeRecord, MAX_TEXT } from './log-record.ts';
import { createStepTails } from './step-tails.ts';

/** Between two writes to the file; what comes after a pause is written at once. */
const BATCH_MS = 25;
/** Behind the limit there is room for notes: how the build ended must be readable. */
const NOTES_BYTES = 256 * 1024;

interface Pending {
  index: number;
  record: string;
  bytes: number;
}

export interface LogWriterOptions {
  maxBytes: number;
  log: Log;
  /** Again for a log that could not be made because the disk was full. */
  open: () => Promise<OpenedLog | undefined>;
  /** There is more to read. */
  changed: () => void;
}

export class LogWriter implements BuildLogWriter {
  readonly #options: LogWriterOptions;
  readonly #tails = createStepTails();
  #handle: FileHandle | undefined;
  /** Of the file, as far as it holds whole records. */
  #size: number;
  #next: number;
  #pending: Pending[] = [];
  #pendingBytes = 0;
  #lost = { lines: 0, lastIndex: 0 };
  #isFull = false;
  #closed: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> | undefined;
  #writtenAt = 0;

  constructor(opened: OpenedLog | undefined, options: LogWriterOptions) {
    this.#options = options;
    this.#handle = opened?.handle;
    this.#size = opened?.size ?? 0;
    this.#next = opened?.next ?? 0;
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  write({ step, stream, text }: Pick<LogLine, 'step' | 'stream' | 'text'>): void {
    if (this.#closed !== undefined) return;
    const { maxBytes } = this.#options;
    const taken = this.#size + this.#pendingBytes;
    if (taken >= maxBytes && !this.#isFull) {
      this.#isFull = true;
      this.#add({ step: undefined, stream: 'note', text: 'The log has reached its limit.' });
    }
    if (this.#isFull && (stream !== 'note' || taken >= maxBytes + NOTES_BYTES)) return;
    this.#add({ step, stream, text: text.slice(0, MAX_TEXT) });
  }

  tail(step: number, count: number): LogLine[] {
    return this.#tails.last(step, count);
  }

  async flush(): Promise<void> {
    do {
      await this.#drain();
    } while (this.#pending.length > 0);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  #add(content: Pick<LogLine, 'step' | 'stream' | 'text'>): void {
    const line = { index: this.#next, at: Date.now(), ...content };
    this.#next += 1;
    this.#tails.add(line);
    const record = encodeRecord(line);
    const bytes = Buffer.byteLength(record);
    this.#pending.push({ index: line.index, record, bytes });
    this.#pendingBytes += bytes;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#work !== undefined) return;
    const wait = Math.max(0, Math.min(BATCH_MS, this.#writtenAt + BATCH_MS - performance.now()));
    // Also without a wait by a timer, so that lines that come together are written together.
    this.#timer = setTimeout(() => void this.#drain(), wait);
  }

  /** Never rejects. */
  #drain(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#work ??= this.#writeBatch().finally(() => {
      this.#work = undefined;
      this.#writtenAt = performance.now();
      if (this.#pending.length > 0) this.#schedule();
    });
    return this.#work;
  }

  async #writeBatch(): Promise<void> {
    const loss = this.#lossRecord();
    if (loss === undefined && this.#pending.length === 0) return;
    const batch = [...(loss === undefined ? [] : [loss]), ...this.#pending];
    this.#pending = [];
    const { written, error } = await this.#append(Buffer.from(batch.map(({ record }) => record).join('')));
    let kept = 0;
    let whole = 0;
    for (const { bytes } of batch) {
      if (whole + bytes > written) break;
      whole += bytes;
      kept += 1;
    }
    this.#size += whole;
    if (loss !== undefined && kept > 0) this.#lost.lines = 0;
    this.#pendingBytes = this.#pending.reduce((sum, { bytes }) => sum + bytes, 0);
    if (error !== undefined)
      await this.#lose(
        batch.slice(kept).filter((pending) => pending !== loss),
        error,
      );
    if (kept > 0) this.#options.changed();
  }

  async #append(data: Buffer): Promise<{ written: number; error: unknown }> {
    if (this.#handle === undefined) {
      try {
        const opened = await this.#options.open();
        this.#handle = opened?.handle;
        this.#size = opened?.size ?? 0;
      } catch (error) {
        return { written: 0, error };
      }
    }
    return this.#handle === undefined
      ? { written: 0, error: new Error('the log is gone') }
      : writeAt(this.#handle, this.#size, data);
  }

  async #lose(lines: readonly Pending[], error: unknown): Promise<void> {
    if (this.#lost.lines === 0) this.#options.log.warn({ err: error }, 'lines of a build log cannot be written');
    this.#lost = { lines: this.#lost.lines + lines.length, lastIndex: lines.at(-1)?.index ?? this.#lost.lastIndex };
    // What was half written is half a record, which readers pass over and the next write covers.
    await this.#handle?.truncate(this.#size).catch(() => {});
  }

  /** It takes the index of the last line that is lost, so that indexes stay unique and in order. */
  #lossRecord(): Pending | undefined {
    const { lines, lastIndex } = this.#lost;
    if (lines === 0) return undefined;
    const text = `${lines} ${lines === 1 ? 'line is' : 'lines are'} missing here: the disk of the server was full`;
    const record = encodeRecord({ index: lastIndex, at: Date.now(), step: undefined, stream: 'note', text });
    return { index: lastIndex, record, bytes: Buffer.byteLength(record) };
  }

  async #close(): Promise<void> {
    await this.flush();
    if (this.#lost.lines > 0) await this.#drain();
    clearTimeout(this.#timer);
    await this.#handle?.close().catch(() => {});
    this.#handle = undefined;
  }
}
