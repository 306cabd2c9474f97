import { DarkroomError, invalidRequest } from '../../platform/errors.ts';
import type { TransferInstruction } from './transfer-types.ts';

export interface RemoteSource {
  /** Its place in the instruction's sources. */
  index: number;
  url: URL;
  /** The name that its file gets. */
  name: string;
}

export function isGitSource(text: string): boolean {
  if (/^https?:\/\//i.test(text)) return /^[^?#]*\.git([?#].*)?$/i.test(text);
  return /^(git|ssh):\/\//i.test(text) || /^[\w.-]+@[\w.-]+:(?!\/\/)/.test(text);
}

export function isHttpSource(text: string): boolean {
  return /^https?:\/\//i.test(text) && !isGitSource(text);
}

/**
 * What ADD fetches from the network, in the order of its sources. Raises `invalid_request` for what is not supported, and for a checksum
 * that could not be checked.
 */
export function remoteSources(instruction: TransferInstruction, checksum: string | undefined): RemoteSource[] {
  const { kind, sources } = instruction;
  const remote: RemoteSource[] = [];
  for (const [index, text] of sources.entries()) {
    if (kind === 'copy' || !isHttpSource(text)) refuseGit(kind, text);
    if (kind !== 'add' || !isHttpSource(text)) continue;
    if (!URL.canParse(text)) throw invalidRequest(`ADD ${text.slice(0, 200)}: this is no URL`);
    const url = new URL(text);
    remote.push({ index, url, name: nameOf(url) });
  }
  if (checksum !== undefined && (sources.length !== 1 || remote.length !== 1)) {
    throw invalidRequest('--checksum goes with one source, which is a URL');
  }
  return remote;
}

/** What should have been fetched, or cannot be. */
export function refuseRemote(kind: TransferInstruction['kind'], text: string): void {
  refuseGit(kind, text);
  if (!isHttpSource(text)) return;
  if (kind === 'copy') throw invalidRequest(`COPY takes no URL: ${text.slice(0, 200)}`, { hint: 'ADD does.' });
  throw new DarkroomError('internal', `ADD ${text.slice(0, 200)}: it was not fetched`);
}

function refuseGit(kind: TransferInstruction['kind'], text: string): void {
  if (!isGitSource(text)) return;
  throw invalidRequest(`${kind.toUpperCase()} from a git repository is not supported: ${withoutSecrets(text)}`, {
    hint: 'Write RUN git clone, or ADD the repository’s archive by its URL.',
  });
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

export function withoutSecrets(text: string): string {
  return text
    .replace(/\/\/[^/@]*@/, '//')
    .replace(/\?.*$/s, '?…')
    .slice(0, 200);
}
