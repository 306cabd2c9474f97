import { createTarReader } from '../../images/tar/reader.ts';
import { TarFormatError } from '../../images/tar/types.ts';
import { createIdShift } from '../../images/unpack/id-shift.ts';
import { EntryRefused, outOfSpace } from '../../images/unpack/unpack-error.ts';
import { DarkroomError, errnoOf, invalidRequest, messageOf } from '../../platform/errors.ts';
import { nameOfBytes } from '../../runtime/container/name-bytes.ts';
import { ArchiveWriter } from '../files/archive-writer.ts';
import { LayerDraft } from '../files/layer-draft.ts';
import type { TreePath } from '../files/tree-path.ts';

export interface MergeOptions {
  /** Empty; becomes the tree. */
  directory: string;
  idBase: number;
  idCount: number;
  /** Of the files of all archives together. */
  maxBytes: number;
  maxEntries: number;
  /** Raises when the call was cancelled. */
  check: () => void;
}

export interface MergedContext {
  sizeBytes: number;
  entries: number;
  /** SHA-256 of the bytes of files, by place. */
  digests: Map<TreePath, string>;
}

/** Bytes of an archive that belong to no file may be this many, and some for each entry. */
const MAX_PADDING_BYTES = 64 * 1024 * 1024;
const ENTRY_BYTES = 4096;

/**
 * Unpacks the archives of a build's contexts into one tree, in this thread; of two with the same name the later one wins. Everything
 * belongs to the image's root, modes and times are kept. An archive may stop before the blocks that end one, as some clients send it,
 * but not inside a file. Raises `invalid_request` for names that lead elsewhere, device nodes, and what is no archive.
 */
export class ContextMerge {
  readonly #draft: LayerDraft;
  readonly #writer: ArchiveWriter;
  readonly #digests = new Map<TreePath, string>();
  readonly #maxEntries: number;

  constructor(options: MergeOptions) {
    const { directory, ...limits } = options;
    this.#maxEntries = options.maxEntries;
    this.#draft = new LayerDraft({ ...limits, upper: directory, parent: undefined });
    this.#writer = new ArchiveWriter(this.#draft, {
      target: '',
      shift: createIdShift(options),
      owner: { uid: 0, gid: 0 },
      strictNames: true,
      refuseDevices: true,
      onFile: (path, sha256) => this.#digests.set(path, sha256),
    });
  }

  /** `name` is how an error calls the archive. */
  async add(name: string, chunks: AsyncIterable<Buffer>): Promise<void> {
    let entry = '';
    const writer = this.#writer;
    const reader = createTarReader({
      entry: (found) => {
        entry = nameOfBytes(found.name);
        if (writer.entries >= this.#maxEntries) throw tooLarge(`more than ${this.#maxEntries} entries`);
        writer.entry(found);
      },
      data: (bytes, position) => writer.data(bytes, position),
      endEntry: () => writer.endEntry(),
    });
    const before = { bytes: this.#draft.written.sizeBytes, entries: writer.entries };
    let total = 0;
    try {
      for await (const chunk of chunks) {
        this.#draft.check();
        total += chunk.length;
        const known = this.#draft.written.sizeBytes - before.bytes + (writer.entries - before.entries) * ENTRY_BYTES;
        if (total - known - chunk.length > MAX_PADDING_BYTES) throw tooLarge('too many bytes that belong to no file');
        reader.push(chunk);
      }
      reader.end();
    } catch (error) {
      throw mergeError(error, name, entry);
    } finally {
      writer.abandon();
    }
  }

  finish(): MergedContext {
    this.#writer.finish();
    return { ...this.#draft.written, digests: this.#digests };
  }
}

function mergeError(error: unknown, name: string, entry: string): unknown {
  const where = `context ${name}`;
  if (error instanceof EntryRefused) {
    return invalidRequest(
      `${where}: the entry ${JSON.stringify(entry.slice(0, 200))} cannot be used: ${error.message}`,
      {
        hint: 'Archives of contexts have names below the context’s root, and files, directories and links only.',
        cause: error,
      },
    );
  }
  if (error instanceof TarFormatError)
    return invalidRequest(`${where} is no whole archive: ${error.message}`, { cause: error });
  if (error instanceof DarkroomError) return error.code === 'quota_exceeded' ? tooLarge(error.message) : error;
  switch (errnoOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return outOfSpace(error);
    case 'ENAMETOOLONG':
    case 'EFBIG':
    case 'EMLINK':
    case 'E2BIG':
    case 'ERANGE':
      return invalidRequest(`${where}: the entry ${JSON.stringify(entry.slice(0, 200))}: ${messageOf(error)}`, {
        cause: error,
      });
    default:
      return error;
  }
}

const tooLarge = (what: string) =>
  new DarkroomError('payload_too_large', `the contexts of the build are too large: ${what}`, {
    hint: 'Leave out what the build does not need, by .dockerignore or by adding smaller directories.',
  });
