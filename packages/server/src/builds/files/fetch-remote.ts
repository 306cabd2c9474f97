import { createUrlFetcher, type FetchOptions } from './fetch-url.ts';
import { createGitFetcher, identityOf } from './git/fetch-git.ts';
import { createRemoteAgent, type RemoteAgentOptions } from './remote-agent.ts';
import type { RemoteSource } from './remote-source.ts';
import type { Fetched } from './transfer-types.ts';

/** What ADD takes from the network: files by URL, and trees of git repositories. */
export interface RemoteFetcher {
  /**
   * Where it can be told without fetching (of git, not of URLs): what `fetch` would give, to be used for a cache key and not to be carried
   * out, and the source pinned to it, for a `fetch` after a miss. Undefined: fetch it. Raises as `fetch` does.
   */
  identify(source: RemoteSource, signal: AbortSignal): Promise<{ fetched: Fetched; pinned: RemoteSource } | undefined>;
  /**
   * Fetches into an empty directory. A failed call leaves the directory empty. Raises `invalid_request` for what the author of the Dockerfile
   * can put right, `unavailable` for a server that does not answer, `quota_exceeded`, `insufficient_storage`, or the signal's reason.
   */
  fetch(source: RemoteSource, options: FetchOptions): Promise<Fetched>;
  close(): Promise<void>;
}

export interface RemoteFetcherOptions extends RemoteAgentOptions {
  /** Host id of the image's root. */
  idBase: number;
  /** Files that one repository may have. */
  maxEntries?: number;
}

const DEFAULT_MAX_ENTRIES = 2_000_000;

export function createRemoteFetcher(options: RemoteFetcherOptions): RemoteFetcher {
  const { maxEntries = DEFAULT_MAX_ENTRIES } = options;
  const agent = createRemoteAgent(options);
  const urls = createUrlFetcher(options);
  const repositories = createGitFetcher(agent);
  return {
    async identify(source, signal) {
      if (source.kind === 'url') return undefined;
      const pinned = await repositories.resolve(source, signal);
      const fetched = { directory: '', name: '', identity: identityOf(source, pinned.ref ?? '') };
      return { fetched, pinned };
    },
    async fetch(source, { directory, checksum, maxBytes, signal }) {
      if (source.kind === 'git') return await repositories.fetch(source, { directory, maxBytes, maxEntries, signal });
      return await urls.fetch(source, { directory, checksum, maxBytes, signal });
    },
    async close() {
      await Promise.all([urls.close(), agent.close()]);
    },
  };
}
