import type { Readable } from 'node:stream';
import { finished } from 'node:stream';
import { DarkroomError, invalidRequest } from '../../../platform/errors.ts';
import type { FileChanges, FileOwnerNames, FileStat } from '../../../runtime/types.ts';
import { resolvePath } from '../../profile.ts';
import type { SandboxContext } from '../../types.ts';
import type { Entered } from '../enter.ts';
import { boundedBy, LONG_CALL_MS } from './bounds.ts';
import { outcomeOf, type Replacement, type ReplaceOutcome, replaceText } from './replace-text.ts';
import { type Found, findText, searchNames, type TextMatch } from './search-tree.ts';

export type { Replacement, ReplaceOutcome } from './replace-text.ts';
export type { Found, TextMatch } from './search-tree.ts';

export interface ToolboxFile {
  /** Absolute in the sandbox. */
  path: string;
  stat: FileStat;
  owner: string;
  group: string;
}

interface Search {
  path: string;
  pattern: string;
}

/**
 * Files of one running sandbox, with the rights of its root; what is made belongs to its user. Relative paths are taken from the
 * work dir, `~` is the user's home. Errors as in `ContainerFiles`, and `timeout`.
 */
export interface SandboxFiles {
  /** Parents are made. */
  write(path: string, content: Readable): Promise<void>;
  read(path: string): Promise<{ stat: FileStat; stream: Readable }>;
  stat(path: string): Promise<ToolboxFile>;
  /** Entries of a directory, or with more `depth` of those below it; links are not followed. */
  list(path: string, options: { depth: number; signal: AbortSignal }): AsyncIterable<ToolboxFile>;
  /** With its parents; one that exists is well. */
  makeDirectory(path: string, mode: number): Promise<void>;
  remove(path: string, options: { recursive: boolean; signal: AbortSignal }): Promise<void>;
  /** Into a directory, or to a new name, over a file that has it. */
  move(source: string, destination: string, signal: AbortSignal): Promise<void>;
  change(path: string, changes: Pick<FileChanges, 'owner' | 'group' | 'mode'>): Promise<void>;
  search(search: Search, signal: AbortSignal): Promise<Found<string>>;
  find(search: Search, signal: AbortSignal): Promise<Found<TextMatch>>;
  replace(paths: readonly string[], replacement: Replacement, signal: AbortSignal): Promise<ReplaceOutcome[]>;
}

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;

export function filesOf(context: SandboxContext, { row, profile }: Entered): SandboxFiles {
  const files = context.runtime.files(row.id);
  const { user } = profile;
  const owner = { uid: user.uid, gid: user.gid };
  const at = (path: string) => resolvePath(profile, path);

  /** The sandbox is in use as long as it lasts. */
  async function busy<T>(work: () => Promise<T>): Promise<T> {
    const endUse = context.activity.begin(row.id);
    try {
      return await work();
    } finally {
      endUse();
    }
  }

  async function bounded<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    using limit = boundedBy(signal, LONG_CALL_MS);
    try {
      return await busy(() => work(limit.signal));
    } catch (error) {
      if (signal.aborted) throw new DarkroomError('timeout', 'the client went away', { cause: error });
      throw error;
    }
  }

  const named = (names: FileOwnerNames, path: string, stat: FileStat): ToolboxFile => ({
    path,
    stat,
    owner: names.owner(stat.uid),
    group: names.group(stat.gid),
  });

  return {
    async write(path, content) {
      const absolute = at(path);
      await busy(() => files.write(absolute, content, owner));
    },
    async read(path) {
      const opened = await files.read(at(path));
      finished(opened.stream, context.activity.begin(row.id));
      return opened;
    },
    async stat(path) {
      const absolute = at(path);
      const [names, stat] = [await files.ownerNames(), await files.stat(absolute)];
      return named(names, absolute, stat);
    },
    async *list(path, { depth, signal }) {
      const absolute = at(path).replace(/(?<=.)\/+$/, '');
      const names = await files.ownerNames();
      const above = absolute === '/' ? '' : absolute;
      try {
        if (depth > 1) {
          for await (const entry of files.walk(absolute, { maxDepth: depth, signal })) {
            yield named(names, entry.path, entry.stat);
          }
          return;
        }
        for await (const { name, stat } of files.list(absolute)) {
          if (signal.aborted) return;
          yield named(names, `${above}/${name}`, stat);
        }
      } catch (error) {
        // Nobody listens any more.
        if (!signal.aborted) throw error;
      }
    },
    makeDirectory: async (path, mode) => files.makeDirectory(at(path), { mode, owner, parents: true }),
    remove: (path, { recursive, signal }) =>
      bounded(signal, async (limit) => files.remove(at(path), { recursive, signal: limit })),
    move: (source, destination, signal) =>
      bounded(signal, async (limit) => {
        const from = at(source);
        const to = await targetOf(from, at(destination));
        await files.rename(from, to, { replace: true, signal: limit });
      }),
    change: async (path, changes) => files.change(at(path), changes),
    search: ({ path, pattern }, signal) =>
      bounded(signal, async (limit) => searchNames(files, { path: at(path), pattern }, limit)),
    find: ({ path, pattern }, signal) =>
      bounded(signal, async (limit) => findText(files, { path: at(path), pattern }, limit)),
    replace: (paths, replacement, signal) =>
      bounded(signal, async (limit) => {
        const outcomes: ReplaceOutcome[] = [];
        for (const path of paths) {
          try {
            await replaceText(files, at(path), replacement, { owner, signal: limit });
            outcomes.push({ file: path, error: undefined });
          } catch (error) {
            outcomes.push(outcomeOf(path, error));
          }
        }
        return outcomes;
      }),
  };

  /** As `mv` does it: a directory takes what is moved to it. */
  async function targetOf(from: string, to: string): Promise<string> {
    const stat = await files.stat(to).catch((error: unknown) => {
      if (error instanceof DarkroomError && error.code === 'not_found') return undefined;
      throw error;
    });
    if (stat === undefined || (stat.mode & S_IFMT) !== S_IFDIR) return to;
    const name = from.replace(/\/+$/, '').split('/').at(-1) ?? '';
    if (name === '' || name === '.' || name === '..') throw invalidRequest(`${from} has no name of its own`);
    return `${to.replace(/\/+$/, '')}/${name}`;
  }
}
