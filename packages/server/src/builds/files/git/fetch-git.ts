import { chownSync, lstatSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DarkroomError, errnoOf, invalidRequest } from '../../../platform/errors.ts';
import { run } from '../../../platform/process.ts';
import { createSemaphore } from '../../../runtime/semaphore.ts';
import type { RemoteAgent } from '../remote-agent.ts';
import { connectionError } from '../remote-error.ts';
import type { FetchedTree } from '../transfer-types.ts';
import { withoutSecrets } from '../without-secrets.ts';
import { checkOut, submoduleUrls } from './checkout.ts';
import { fetchPack } from './fetch-pack.ts';
import { type GitJail, JAIL_ID } from './git-jail.ts';
import { COMMIT_ID, type GitSource } from './git-source.ts';
import { GitServerRefusal } from './pkt-line.ts';
import { readAdvertisement, resolveRef } from './remote-refs.ts';
import { openGitServer } from './smart-http.ts';
import { submoduleRepository } from './submodule-url.ts';

export interface GitFetcher {
  /** The source with the commit in the place of its ref: what it means now. Asks the server for its refs only. */
  resolve(source: GitSource, signal: AbortSignal): Promise<GitSource>;
  /**
   * Checks the commit out into an empty directory, with its submodules. A failed call leaves the directory empty. Raises `invalid_request` for
   * what the author of the Dockerfile can put right, `unavailable` for a server that does not answer, `quota_exceeded`, or the signal's reason.
   */
  fetch(source: GitSource, options: GitFetchOptions): Promise<FetchedTree>;
}

export interface GitFetchOptions {
  directory: string;
  /** Of a pack, and of all files. */
  maxBytes: number;
  maxEntries: number;
  signal: AbortSignal;
}

/** A repository that takes longer is better fetched ahead of the build. */
const TOTAL_MS = 60 * 60_000;
const REMOVE_MS = 10 * 60_000;
/** Each may need gigabytes of memory for a moment. */
const AT_ONCE = 2;
const MAX_DEPTH = 8;
const MAX_REPOSITORIES = 200;

interface Fetching {
  source: GitSource;
  jail: GitJail;
  left: { bytes: number; entries: number; repositories: number };
}

export function createGitFetcher(agent: RemoteAgent): GitFetcher {
  const inTurn = createSemaphore(AT_ONCE);

  /** One repository into a place of the tree, and those inside of it. */
  async function take(
    fetching: Fetching,
    place: { repository: URL; source: Pick<GitSource, 'ref' | 'refIs' | 'commit'>; path: string; depth: number },
  ): Promise<string> {
    const { jail, left, source } = fetching;
    const { signal } = jail;
    const { repository, path, depth } = place;
    if (depth > MAX_DEPTH) throw invalidRequest(`its submodules lie more than ${MAX_DEPTH} deep in each other`);
    if (left.repositories === 0) throw invalidRequest(`it has more than ${MAX_REPOSITORIES} submodules`);
    left.repositories -= 1;
    const server = openGitServer(await agent.open(), repository);
    const advertisement = await readAdvertisement(server, signal);
    const ref = await resolveRef(server, advertisement, place.source, signal);
    const isRoot = depth === 0;
    const keeps = isRoot && source.keepGitDir && source.subdir === '';
    const gitDirectory = keeps ? '/work/tree/.git' : `/work/repositories/${left.repositories}`;
    const found = await checkOut(jail, {
      pack: fetchPack(server, advertisement, ref.id, { maxBytes: left.bytes, signal }),
      id: ref.id,
      objectFormat: advertisement.objectFormat,
      gitDirectory,
      tree: path === '' ? '/work/tree' : `/work/tree/${path}`,
      maxBytes: left.bytes,
      maxEntries: left.entries,
      origin: shown(repository),
    });
    left.bytes -= found.sizeBytes;
    left.entries -= found.entries;
    const wanted = place.source.commit;
    if (wanted !== undefined && !found.commit.startsWith(wanted) && !ref.id.startsWith(wanted)) {
      throw invalidRequest(`its commit is ${found.commit}, and ${wanted} was asked for`, {
        hint: 'The branch or tag has moved, or the checksum is of another repository.',
      });
    }
    if (source.submodules && found.submodules.length > 0) {
      const urls = await submoduleUrls(jail, found.commit, gitDirectory);
      for (const { path: below, commit } of found.submodules) {
        const url = submoduleRepository(repository, urls.get(below), below);
        await take(fetching, {
          repository: url,
          source: { ref: commit, refIs: 'any', commit },
          path: path === '' ? below : `${path}/${below}`,
          depth: depth + 1,
        });
      }
    }
    return found.commit;
  }

  return {
    async resolve(source, signal) {
      try {
        if (
          source.refIs === 'any' &&
          COMMIT_ID.test(source.ref ?? '') &&
          source.ref?.startsWith(source.commit ?? '') === true
        )
          return source;
        const server = openGitServer(await agent.open(), source.repository);
        const advertisement = await readAdvertisement(server, signal);
        const { id, peeled } = await resolveRef(server, advertisement, source, signal);
        const { commit } = source;
        if (commit !== undefined && !id.startsWith(commit) && peeled?.startsWith(commit) !== true) {
          throw invalidRequest(`its commit is ${peeled ?? id}, and ${commit} was asked for`, {
            hint: 'The branch or tag has moved, or the checksum is of another repository.',
          });
        }
        return { ...source, ref: peeled ?? id, refIs: 'any', commit: undefined };
      } catch (error) {
        throw gitError(source.repository, error, signal);
      }
    },
    fetch: (source, { directory, maxBytes, maxEntries, signal }) =>
      inTurn(async () => {
        const deadline = AbortSignal.timeout(TOTAL_MS);
        const within = AbortSignal.any([signal, deadline]);
        const work = join(directory, 'work');
        const jail: GitJail = { root: join(directory, 'jail'), work, maxBytes, signal: within };
        try {
          mkdirSync(jail.root);
          mkdirSync(work, { mode: 0o700 });
          mkdirSync(join(work, 'tree'), { mode: 0o755 });
          for (const path of [work, join(work, 'tree')]) chownSync(path, JAIL_ID, JAIL_ID);
          const left = { bytes: maxBytes, entries: maxEntries, repositories: MAX_REPOSITORIES };
          const place = { repository: source.repository, source, path: '', depth: 0 };
          const commit = await take({ source, jail, left }, place);
          await remove(join(work, 'repositories'), jail.root);
          requireDirectory(work, source.subdir);
          const name = source.subdir === '' ? 'work/tree' : `work/tree/${source.subdir}`;
          return { directory, name, identity: identityOf(source, commit) };
        } catch (error) {
          await remove(work, jail.root).catch(() => {});
          if (deadline.aborted && !signal.aborted)
            throw gitError(source.repository, new Error(`it took longer than ${TOTAL_MS / 60_000} minutes`), signal);
          throw gitError(source.repository, error, signal);
        }
      }),
  };
}

/** What the files depend on. Without the URL: a commit is the same wherever it comes from. */
export function identityOf({ subdir, keepGitDir, submodules, repository }: GitSource, commit: string): string {
  const keeps = keepGitDir && subdir === '';
  // The directory of git has the URL in it, and relative submodules depend on it.
  return JSON.stringify(['git', commit, subdir, submodules ? shown(repository) : '', keeps ? shown(repository) : null]);
}

/** Symlinks are not followed: what is asked for must be in the repository. */
function requireDirectory(work: string, subdir: string): void {
  let path = join(work, 'tree');
  for (const name of subdir.split('/').filter((part) => part !== '')) {
    path = join(path, name);
    if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true) continue;
    throw invalidRequest(`the repository has no directory ${subdir}`);
  }
}

/** With a tool, because names may be any bytes and trees of any depth. */
async function remove(...paths: readonly string[]): Promise<void> {
  await run('rm', ['-rf', '--one-file-system', '--', ...paths], { timeoutMs: REMOVE_MS });
}

function gitError(repository: URL, error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  const what = `ADD ${shown(repository)}`;
  if (error instanceof GitServerRefusal) {
    return invalidRequest(`${what}: its server says: ${error.message.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 300)}`);
  }
  if (errnoOf(error) === 'ENOSPC' || errnoOf(error) === 'EDQUOT') {
    return new DarkroomError('insufficient_storage', 'the disk is full', { retryable: true, cause: error });
  }
  if (!(error instanceof DarkroomError)) return connectionError(what, error);
  const { code, message, hint, retryable, details, cause } = error;
  const more = hint === undefined ? {} : { hint };
  return new DarkroomError(code, `${what}: ${message}`, { retryable, details, cause, ...more });
}

const shown = (repository: URL) => withoutSecrets(repository.href);
