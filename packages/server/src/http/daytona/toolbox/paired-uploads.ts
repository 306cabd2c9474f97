import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { DarkroomError, errnoOf } from '../../../platform/errors.ts';
import type { SandboxFiles } from '../../../sandboxes/toolbox/index.ts';
import { writeOrDrain } from './write-or-drain.ts';

const FIELD = /^files\[(\d{1,9})\]\.(path|file)$/;
/** Of one request; the disk of the server is not the client's. */
const MAX_WAITING = 100;
const MAX_WAITING_BYTES = 1024 ** 3;

const noSpace = (cause: unknown) =>
  new DarkroomError('insufficient_storage', 'the server has no space left to keep it until its path comes', { cause });

/**
 * Paths and contents of one form, by their number. A content whose path came before it streams into the sandbox; one that comes
 * before its path waits in a file of the server.
 */
export class PairedUploads {
  readonly #files: Pick<SandboxFiles, 'write'>;
  readonly #spoolDirectory: string;
  readonly #paths = new Map<string, string>();
  readonly #waiting = new Map<string, string>();
  readonly #done = new Set<string>();
  readonly #errors: string[] = [];
  #waitingBytes = 0;

  constructor(files: Pick<SandboxFiles, 'write'>, spoolDirectory: string) {
    this.#files = files;
    this.#spoolDirectory = spoolDirectory;
  }

  async field(name: string, value: string): Promise<void> {
    const [, number, kind] = FIELD.exec(name) ?? [];
    if (number === undefined || kind !== 'path') return;
    this.#paths.set(number, value);
    const spooled = this.#waiting.get(number);
    if (spooled === undefined) return;
    await this.#write(number, value, createReadStream(spooled));
    this.#waiting.delete(number);
    await rm(spooled, { force: true });
  }

  async file(name: string, content: Readable): Promise<void> {
    const [, number, kind] = FIELD.exec(name) ?? [];
    if (number === undefined || kind !== 'file') {
      content.resume();
      return;
    }
    const path = this.#paths.get(number);
    if (path !== undefined) return this.#write(number, path, content);
    if (this.#waiting.has(number) || this.#waiting.size >= MAX_WAITING) {
      this.#errors.push(`files[${number}]: send the path of a file before its content`);
      content.resume();
      return;
    }
    const spooled = join(this.#spoolDirectory, `upload-${randomUUID()}`);
    this.#waiting.set(number, spooled);
    try {
      await pipeline(this.#bounded(content), createWriteStream(spooled, { flags: 'wx', mode: 0o600 }));
    } catch (error) {
      // The rest of the part is read, to be able to answer.
      content.on('error', () => {});
      content.resume();
      this.#waiting.delete(number);
      await rm(spooled, { force: true });
      this.#fail(`files[${number}]`, errnoOf(error) === 'ENOSPC' ? noSpace(error) : error);
    }
  }

  async *#bounded(content: Readable): AsyncGenerator<Buffer> {
    for await (const chunk of content.iterator({ destroyOnReturn: false })) {
      this.#waitingBytes += chunk.length;
      if (this.#waitingBytes > MAX_WAITING_BYTES) {
        throw new DarkroomError('payload_too_large', 'send the path of a large file before its content');
      }
      yield chunk;
    }
  }

  /** What went wrong, a sentence for each file; empty when all is in place. */
  async finish(): Promise<string[]> {
    for (const number of this.#waiting.keys()) this.#errors.push(`files[${number}]: the path is missing`);
    for (const [number, path] of this.#paths) {
      if (!this.#done.has(number)) this.#errors.push(`${path}: the file is missing`);
    }
    if (this.#done.size === 0 && this.#errors.length === 0) this.#errors.push('the form has no files');
    return this.#errors;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const spooled of this.#waiting.values()) await rm(spooled, { force: true });
  }

  async #write(number: string, path: string, content: Readable): Promise<void> {
    this.#done.add(number);
    try {
      await writeOrDrain(this.#files, path, content);
    } catch (error) {
      this.#fail(path, error);
    }
  }

  /** The other files of the form still get their turn; what is not the client's to repair ends the request. */
  #fail(subject: string, error: unknown): void {
    if (!(error instanceof DarkroomError) || !error.isUserError) throw error;
    this.#errors.push(`${subject}: ${error.message}`);
  }
}
