import { createHash } from 'node:crypto';
import { chmodSync, lchownSync } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Agent, Dispatcher } from 'undici';
import { DarkroomError, errnoOf, invalidRequest } from '../../platform/errors.ts';
import { setFileTime } from '../../platform/libc-inode.ts';
import { createRemoteAgent, type RemoteAgentOptions } from './remote-agent.ts';
import { connectionError, credentialsFor } from './remote-error.ts';
import type { UrlSource } from './remote-source.ts';
import type { FetchedFile } from './transfer-types.ts';
import { checkDigest, type WantedDigest, wantedDigest } from './url-checksum.ts';

export interface UrlFetcher {
  /**
   * Fetches a file into an empty directory: mode 0600, of the image's root, with the time that its server says (or 1970). A failed call
   * leaves the directory empty. Raises `invalid_request` for what the author of the Dockerfile can put right (a missing file, a wrong
   * checksum, an address that is not for builds), `unavailable` for a server that does not answer, `quota_exceeded`, or the signal's reason.
   */
  fetch(source: UrlSource, options: FetchOptions): Promise<FetchedFile>;
  close(): Promise<void>;
}

export interface FetchOptions {
  directory: string;
  /** `sha256:…`, as `--checksum` has it. */
  checksum: string | undefined;
  maxBytes: number;
  signal: AbortSignal;
}

export interface UrlFetcherOptions extends RemoteAgentOptions {
  /** Host id of the image's root. */
  idBase: number;
}

/** A file that takes longer is better fetched ahead of the build. */
const TOTAL_MS = 60 * 60_000;
const MAX_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export function createUrlFetcher(options: UrlFetcherOptions): UrlFetcher {
  const agent = createRemoteAgent(options);

  return {
    async fetch(source, { directory, checksum, maxBytes, signal }) {
      const wanted = checksum === undefined ? undefined : wantedDigest(checksum);
      const deadline = AbortSignal.timeout(TOTAL_MS);
      const path = join(directory, source.name);
      try {
        const response = await follow(await agent.open(), source.url, AbortSignal.any([signal, deadline]));
        const sha256 = await save(response, path, { maxBytes, wanted, url: source.url });
        lchownSync(path, options.idBase, options.idBase);
        chmodSync(path, 0o600);
        setFileTime(path, lastModified(response), 0);
        return { directory, name: source.name, sha256 };
      } catch (error) {
        await rm(path, { force: true });
        signal.throwIfAborted();
        if (deadline.aborted) throw failed(source.url, `it took longer than ${TOTAL_MS / 60_000} minutes`, error);
        throw fetchError(source.url, error);
      }
    },
    close: () => agent.close(),
  };
}

async function follow(agent: Agent, start: URL, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
  let url = start;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops += 1) {
    const response = await agent.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method: 'GET',
      headers: { 'user-agent': 'darkroom', 'accept-encoding': 'identity', ...credentialsFor(url, start) },
      signal,
    });
    if (!REDIRECTS.has(response.statusCode)) {
      if (response.statusCode >= 200 && response.statusCode < 300) return response;
      await response.body.dump({ limit: 16 * 1024 }).catch(() => {});
      throw answered(start, response.statusCode);
    }
    await response.body.dump({ limit: 16 * 1024 }).catch(() => {});
    const { location } = response.headers;
    if (typeof location !== 'string' || !URL.canParse(location, url.href))
      throw failed(start, 'it redirects to nowhere');
    url = new URL(location, url);
    if (url.protocol !== 'http:' && url.protocol !== 'https:')
      throw invalidRequest(`${shown(start)} redirects to ${url.protocol}`);
  }
  throw invalidRequest(`${shown(start)} redirects more than ${MAX_REDIRECTS} times`);
}

async function save(
  response: Dispatcher.ResponseData,
  path: string,
  { maxBytes, wanted, url }: { maxBytes: number; wanted: WantedDigest | undefined; url: URL },
): Promise<string> {
  const tooLarge = () => new DarkroomError('quota_exceeded', `${shown(url)} is larger than ${maxBytes} bytes`);
  // What is not read to its end is cut off, which it answers with an error that nobody waits for.
  response.body.on('error', () => {});
  const sha256 = createHash('sha256');
  const other = wanted === undefined ? undefined : createHash(wanted.algorithm);
  let handle: FileHandle | undefined;
  try {
    if (Number(response.headers['content-length']) > maxBytes) throw tooLarge();
    handle = await open(path, 'wx', 0o600);
    let size = 0;
    for await (const chunk of response.body) {
      const bytes: Buffer = chunk;
      size += bytes.length;
      if (size > maxBytes) throw tooLarge();
      sha256.update(bytes);
      other?.update(bytes);
      await handle.writeFile(bytes);
    }
  } finally {
    response.body.destroy();
    await handle?.close();
  }
  if (wanted !== undefined && other !== undefined) checkDigest(wanted, other.digest('hex'), shown(url));
  return sha256.digest('hex');
}

function lastModified(response: Dispatcher.ResponseData): number {
  const text = response.headers['last-modified'];
  const time = typeof text === 'string' ? Date.parse(text) : Number.NaN;
  return Number.isFinite(time) && time > 0 ? Math.floor(time / 1000) : 0;
}

function fetchError(url: URL, error: unknown): unknown {
  if (error instanceof DarkroomError) return error;
  if (errnoOf(error) === 'ENOSPC' || errnoOf(error) === 'EDQUOT') {
    return new DarkroomError('insufficient_storage', 'the disk is full', { retryable: true, cause: error });
  }
  return connectionError(`ADD ${shown(url)}`, error);
}

const failed = (url: URL, why: string, cause?: unknown) =>
  new DarkroomError('unavailable', `ADD ${shown(url)}: ${why}`, { retryable: true, cause });

function answered(url: URL, status: number): DarkroomError {
  const message = `ADD ${shown(url)}: its server answers ${status}`;
  if (status >= 500 || status === 429) return new DarkroomError('unavailable', message, { retryable: true });
  return invalidRequest(message);
}

/** Without what may be secret. */
function shown(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}${url.search === '' ? '' : '?…'}`;
}
