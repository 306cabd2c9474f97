import { lchownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createIdShift } from '../../images/unpack/id-shift.ts';
import { EntryRefused, outOfSpace } from '../../images/unpack/unpack-error.ts';
import { DarkroomError, errnoOf, invalidRequest, messageOf } from '../../platform/errors.ts';
import { bytesOfName } from '../../runtime/container/name-bytes.ts';
import { ArchiveWriter } from './archive-writer.ts';
import { type CopyRules, type CopyTarget, copySource, ensureDirectory } from './copy-source.ts';
import { readModeChange } from './file-mode.ts';
import { resolveOwner } from './file-owner.ts';
import { ignoringTree } from './filtered-tree.ts';
import { type FoundSource, findSources } from './find-sources.ts';
import { followPath } from './follow-path.ts';
import { LayerDraft } from './layer-draft.ts';
import { archiveCompression, readLocalArchive } from './local-archive.ts';
import { parentsSource } from './parents-source.ts';
import { refuseRemote } from './remote-source.ts';
import { withOrigins } from './shared-origin.ts';
import type { TransferRequest, TransferResult } from './transfer-types.ts';
import { cleanPath, namesDirectory, placeIn } from './tree-path.ts';
import { EMPTY_TREE, openTree, rootAlone, type TreeView, treeAt } from './tree-view.ts';

export interface TransferLimits {
  idBase: number;
  idCount: number;
  maxEntries: number;
  /** Raises when the call was cancelled. */
  check: () => void;
}

/** Bytes of an archive that belong to no file may be this many, and some for each entry. */
const MAX_PADDING_BYTES = 1024 ** 3;
const ENTRY_BYTES = 4096;

/** Carries out COPY or ADD in this thread. What a failed call leaves in the directory is up to the caller. */
export async function carryOut(request: TransferRequest, limits: TransferLimits): Promise<TransferResult> {
  try {
    return await new Transfer(request, limits).run();
  } catch (error) {
    throw transferError(error);
  }
}

class Transfer {
  readonly #request: TransferRequest;
  readonly #limits: TransferLimits;
  readonly #below: TreeView;
  readonly #draft: LayerDraft;
  readonly #tree: TreeView;
  readonly #warnings: string[] = [];
  readonly #target: CopyTarget;

  constructor(request: TransferRequest, limits: TransferLimits) {
    this.#request = request;
    this.#limits = limits;
    const { parent, upper, maxBytes, source, workingDirectory, instruction } = request;
    const { idBase, maxEntries, check } = limits;
    this.#below = parent === undefined ? EMPTY_TREE : openTree(parent);
    // As BuildKit: a mode makes it an ordinary copy.
    const isLink = instruction.link && instruction.chmod === undefined;
    const seen = isLink ? rootAlone(this.#below) : this.#below;
    this.#draft = new LayerDraft({ upper, parent: seen, idBase, maxBytes, maxEntries, check });
    const tree = openTree(source.directory);
    this.#tree = ignoringTree(source.layers === undefined ? tree : withOrigins(tree, source.layers), source.ignore);
    this.#target = {
      path: placeIn(workingDirectory, instruction.target),
      isDirectory: namesDirectory(instruction.target) || placeIn(workingDirectory, instruction.target) === '',
    };
  }

  async run(): Promise<TransferResult> {
    const { instruction } = this.#request;
    const rules: CopyRules = {
      owner:
        instruction.chown === undefined
          ? undefined
          : await resolveOwner(instruction.chown, this.#below, this.#limits.idCount),
      mode: instruction.chmod === undefined ? undefined : readModeChange(instruction.chmod),
      exclude: instruction.exclude,
      include: undefined,
    };
    const [overwritten] = instruction.sources;
    for (const [index, text] of instruction.sources.entries()) await this.#takeSource(index, text, rules);
    for (const { name, content } of instruction.heredocs) this.#takeHeredoc(name, content, rules);
    const count = instruction.sources.length + instruction.heredocs.length;
    if (count > 1 && overwritten !== undefined && this.#draft.lstat(this.#target.path)?.isFile() === true) {
      this.#warnings.push(
        `several sources were copied to the one file /${this.#target.path}: only the last is left; end the target with a slash`,
      );
    }
    return { ...this.#draft.written, warnings: this.#warnings };
  }

  async #takeSource(index: number, text: string, rules: CopyRules): Promise<void> {
    const { instruction, fetched } = this.#request;
    const file = fetched.get(index);
    if (file !== undefined && 'identity' in file) {
      const owner = rules.owner ?? { uid: 0, gid: 0 };
      copySource(this.#draft, treeAt(file.directory), { name: '', place: file.name }, this.#target, {
        ...rules,
        owner,
      });
      return;
    }
    if (file !== undefined) {
      const unpack = instruction.unpack === true;
      await this.#take(treeAt(file.directory), { name: file.name, place: file.name }, rules, unpack);
      return;
    }
    refuseRemote(instruction.kind, text);
    if (instruction.parents) {
      const { base, include } = parentsSource(this.#tree, text, this.#request.source.what);
      for (const source of base) copySource(this.#draft, this.#tree, source, this.#target, { ...rules, include });
      return;
    }
    const found = findSources(this.#tree, text, this.#request.source.what);
    if (found.length === 0) this.#warnings.push(`${text} matches nothing in ${this.#request.source.what}`);
    const unpack = instruction.unpack ?? instruction.kind === 'add';
    for (const source of found) await this.#take(this.#tree, source, rules, unpack);
  }

  async #take(tree: TreeView, source: FoundSource, rules: CopyRules, unpack: boolean): Promise<void> {
    this.#draft.check();
    if (unpack && (await this.#unpacked(tree, source, rules))) return;
    copySource(this.#draft, tree, source, this.#target, rules);
  }

  /** False when it is no archive. */
  async #unpacked(tree: TreeView, source: FoundSource, rules: CopyRules): Promise<boolean> {
    if (tree.lstat(source.place)?.isFile() !== true) return false;
    const file = tree.locate(source.place);
    const compression = await archiveCompression(file);
    if (compression === undefined) return false;
    const target = followPath(this.#draft, this.#target.path);
    ensureDirectory(this.#draft, target, { owner: rules.owner, mode: undefined });
    const writer = new ArchiveWriter(this.#draft, {
      target,
      shift: createIdShift(this.#limits),
      owner: rules.owner,
      strictNames: false,
      refuseDevices: false,
    });
    let bytes = 0;
    try {
      await readLocalArchive(file, compression, writer, (count) => {
        bytes += count;
        const padding = bytes - this.#draft.written.sizeBytes - writer.entries * ENTRY_BYTES;
        if (padding > MAX_PADDING_BYTES)
          throw invalidRequest(`/${source.place} has too many bytes that belong to no file`);
      });
      writer.finish();
    } catch (error) {
      throw withPlace(error, `/${source.place}`);
    } finally {
      writer.abandon();
    }
    if (writer.skippedDevices > 0)
      this.#warnings.push(`/${source.place}: ${writer.skippedDevices} device nodes were left out`);
    return true;
  }

  #takeHeredoc(name: string, content: string, rules: CopyRules): void {
    const place = cleanPath(name.replaceAll('/', '_'));
    if (place === '') throw invalidRequest(`the heredoc ${name} cannot be the name of a file`);
    const directory = mkdtempSync(join(this.#request.upper, '..', 'heredoc-'));
    try {
      const path = Buffer.concat([Buffer.from(`${directory}/`), bytesOfName(place)]);
      writeFileSync(path, content, { mode: 0o644, flag: 'wx' });
      lchownSync(path, this.#limits.idBase, this.#limits.idBase);
      copySource(this.#draft, treeAt(directory), { name: place, place }, this.#target, rules);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }
}

function withPlace(error: unknown, place: string): unknown {
  if (!(error instanceof EntryRefused)) return error;
  return invalidRequest(`${place}: an entry cannot be unpacked: ${error.message}`, { cause: error });
}

/** What reading or writing files of a build meant to the author of the instruction. */
export function transferError(error: unknown): unknown {
  if (error instanceof DarkroomError) return error;
  switch (errnoOf(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return outOfSpace(error);
    case 'ENAMETOOLONG':
      return invalidRequest('a path is too long', { cause: error });
    case 'EMLINK':
    case 'EFBIG':
    case 'E2BIG':
    case 'ERANGE':
      return invalidRequest(`more than the file system can hold (${messageOf(error)})`, { cause: error });
    default:
      return error;
  }
}
