import { DarkroomError, invalidRequest } from '../../platform/errors.ts';
import { type GitSource, isGitSource, readGitSource } from './git/git-source.ts';
import type { TransferInstruction } from './transfer-types.ts';
import { withoutSecrets } from './without-secrets.ts';

/** What ADD fetches from the network. */
export type RemoteSource = UrlSource | GitSource;

export interface UrlSource {
  kind: 'url';
  /** Its place in the instruction's sources. */
  index: number;
  url: URL;
  /** The name that its file gets. */
  name: string;
}

/** Of most file systems. */
const NAME_MAX = 255;

export function isHttpSource(text: string): boolean {
  return /^https?:\/\//i.test(text) && !isGitSource(text);
}

/**
 * What ADD fetches from the network, in the order of its sources. Raises `invalid_request` for what is not supported, and for a checksum
 * that could not be checked.
 */
export function remoteSources(
  instruction: TransferInstruction,
  checksum: string | undefined,
  keepGitDir = false,
): RemoteSource[] {
  const { kind, sources } = instruction;
  const remote: RemoteSource[] = [];
  for (const [index, text] of sources.entries()) {
    if (kind === 'copy') {
      refuseRemote(kind, text);
      continue;
    }
    if (isGitSource(text)) remote.push(readGitSource(index, text, { checksum, keepGitDir }));
    if (!isHttpSource(text)) continue;
    if (!URL.canParse(text)) throw invalidRequest(`ADD ${withoutSecrets(text)}: this is no URL`);
    const url = new URL(text);
    const name = nameOf(url);
    if (Buffer.byteLength(name) > NAME_MAX) {
      throw invalidRequest(`ADD ${withoutSecrets(text)}: its last part is too long for the name of a file`);
    }
    remote.push({ kind: 'url', index, url, name });
  }
  if (checksum !== undefined && (sources.length !== 1 || remote.length !== 1)) {
    throw invalidRequest('--checksum goes with one source, which is a URL or a git repository');
  }
  return remote;
}

/** What should have been fetched, or cannot be. */
export function refuseRemote(kind: TransferInstruction['kind'], text: string): void {
  if (!isGitSource(text) && !isHttpSource(text)) return;
  const shown = withoutSecrets(text);
  if (kind === 'copy') throw invalidRequest(`COPY takes no URL: ${shown}`, { hint: 'ADD does.' });
  throw new DarkroomError('internal', `ADD ${shown}: it was not fetched`);
}

function nameOf(url: URL): string {
  let path = url.pathname;
  try {
    path = decodeURIComponent(path);
  } catch {
    // A percent sign that quotes nothing stands for itself.
  }
  const base = path.replace(/\/+$/, '').split('/').at(-1) ?? '';
  return base === '' || base === '.' || base === '..' || base.includes('\0') ? '__unnamed__' : base;
}
