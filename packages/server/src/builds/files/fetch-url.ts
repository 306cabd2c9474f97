import { createHash } from 'node:crypto';
import { chmodSync, lchownSync } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Agent, Dispatcher } from 'undici';
import { createConnector } from '../../images/registry/connector.ts';
import { failureOfConnection, RegistryFailure } from '../../images/registry/failure.ts';
import { createTrustedContext } from '../../images/registry/trust.ts';
import { DarkroomError, errnoOf, invalidRequest } from '../../platform/errors.ts';
import { setFileTime } from '../../platform/libc-inode.ts';
import type { RemoteSource } from './remote-source.ts';
import type { FetchedFile } from './transfer-types.ts';
import { checkDigest, type WantedDigest, wantedDigest } from './url-checksum.ts';

export interface UrlFetcher {
  /**
   * Fetches a file into an empty directory: mode 0600, of the image's root, with the time that its server says (or 1970). A failed call
   * leaves the directory empty. Raises `invalid_request` for what the author of the Dockerfile can put right (a missing file, a wrong
   * checksum, an address that is not for builds), `unavailable` for a server that does not answer, `quota_exceeded`, or the signal's reason.
   */
  fetch(source: RemoteSource, options: FetchOptions): Promise<FetchedFile>;
  close(): Promise<void>;
}

export interface FetchOptions {
  directory: string;
  /** `sha256:…`, as `--checksum` has it. */
  checksum: string | undefined;
  maxBytes: number;
  signal: AbortSignal;
}

export interface UrlFetcherOptions {
  /** Host id of the image's root. */
  idBase: number;
  /** Loopback and private addresses too. Never those of a cloud's metadata. */
  allowInternal: boolean;
  caFiles: readonly string[];
}

const CONNECT_MS = 10_000;
const HEADERS_MS = 60_000;
const IDLE_MS = 30_000;
/** A file that takes longer is better fetched ahead of the build. */
const TOTAL_MS = 60 * 60_000;
const MAX_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

export function createUrlFetcher(options: UrlFetcherOptions): UrlFetcher {
  let agent: Promise<Agent> | undefined;
  // Loaded with the first URL: a server that fetches none saves the memory.
  const openAgent = async () => {
    const library = await import('undici');
    return new library.Agent({
      connect: createConnector({
        buildConnector: library.buildConnector,
        publicOnly: !options.allowInternal,
        insecure: false,
        connectMs: CONNECT_MS,
        secureContext: createTrustedContext(options.caFiles),
        onConnect: () => {},
      }),
      headersTimeout: HEADERS_MS,
      bodyTimeout: IDLE_MS,
      keepAliveTimeout: 10_000,
    });
  };

  return {
    async fetch(source, { directory, checksum, maxBytes, signal }) {
      const wanted = checksum === undefined ? undefined : wantedDigest(checksum);
      const deadline = AbortSignal.timeout(TOTAL_MS);
      const path = join(directory, source.name);
      try {
        agent ??= openAgent();
        const response = await follow(await agent, source.url, AbortSignal.any([signal, deadline]));
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
    close: async () => (await agent)?.destroy(),
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

/** What stands before the @ is for the host that the Dockerfile names, and for no other. */
function credentialsFor(url: URL, start: URL): Record<string, string> {
  if (url.origin !== start.origin || start.username === '') return {};
  const pair = `${decodeURIComponent(start.username)}:${decodeURIComponent(start.password)}`;
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
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
  const failure = failureOfConnection(`ADD ${shown(url)}`, error);
  if (failure instanceof RegistryFailure && failure.kind === 'policy') {
    return invalidRequest(`ADD ${shown(url)}: builds do not fetch from this address`, {
      hint: 'Addresses of private networks must be allowed by whoever runs the server.',
      cause: error,
    });
  }
  return failed(url, failure.message.replace(/^ADD [^ ]*: /, ''), error);
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
