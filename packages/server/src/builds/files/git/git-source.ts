import { invalidRequest } from '../../../platform/errors.ts';
import { withoutSecrets } from '../without-secrets.ts';

/** A commit of a repository that ADD takes files from. */
export interface GitSource {
  kind: 'git';
  /** Its place in the instruction's sources. */
  index: number;
  /** With credentials, if it has any; without query and fragment. */
  repository: URL;
  /** A branch, a tag, a full name below `refs/` or a whole commit id; undefined for the default branch. */
  ref: string | undefined;
  /** Where to look for a short ref. */
  refIs: 'branch' | 'tag' | 'any';
  /** The directory that is added, relative to the root; empty for the root. */
  subdir: string;
  /** The commit id that must be found, or its beginning. */
  commit: string | undefined;
  keepGitDir: boolean;
  submodules: boolean;
}

export const COMMIT_ID = /^([0-9a-f]{40}|[0-9a-f]{64})$/;

export function isGitSource(text: string): boolean {
  if (/^https?:\/\//i.test(text)) return /^[^?#]*\.git([?#].*)?$/is.test(text);
  return /^(git|ssh):\/\//i.test(text) || /^[\w.-]+@[\w.-]+:(?!\/\/)/.test(text);
}

export interface GitOptions {
  /** `--checksum`. */
  checksum: string | undefined;
  keepGitDir: boolean;
}

/** `https://host/repo.git#ref:dir`, or `?ref=…&subdir=…`. Raises `invalid_request` for what is not supported. */
export function readGitSource(index: number, text: string, options: GitOptions): GitSource {
  if (!/^https?:\/\//i.test(text)) throw refuseTransport(text);
  if (!URL.canParse(text)) throw invalidRequest(`ADD ${withoutSecrets(text)}: this is no URL`);
  const url = new URL(text);
  const { hash, searchParams } = url;
  const refuse = (why: string) => invalidRequest(`ADD ${withoutSecrets(text)}: ${why}`);
  if (hash !== '' && url.search !== '') throw refuse('a git source has a fragment or a query, not both');
  const source: GitSource = {
    kind: 'git',
    index,
    repository: new URL(url),
    ref: undefined,
    refIs: 'any',
    subdir: '',
    commit: options.checksum,
    keepGitDir: options.keepGitDir,
    submodules: true,
  };
  source.repository.hash = '';
  source.repository.search = '';
  if (hash !== '') {
    const fragment = decoded(hash.slice(1));
    const colon = fragment.indexOf(':');
    source.ref = (colon === -1 ? fragment : fragment.slice(0, colon)) || undefined;
    source.subdir = colon === -1 ? '' : cleanSubdir(fragment.slice(colon + 1), refuse);
  }
  readQuery(source, searchParams, refuse);
  if (source.ref !== undefined) checkRef(source.ref, refuse);
  if (source.commit !== undefined) {
    source.commit = source.commit.toLowerCase();
    if (!/^[0-9a-f]{7,64}$/.test(source.commit)) {
      throw refuse('the checksum of a git source is a commit id, of at least 7 hexadecimal digits');
    }
    if (source.ref === undefined && COMMIT_ID.test(source.commit)) source.ref = source.commit;
  }
  return source;
}

function readQuery(source: GitSource, query: URLSearchParams, refuse: (why: string) => Error): void {
  const bool = (name: string, value: string) => {
    if (value === '' || value === 'true' || value === '1') return true;
    if (value === 'false' || value === '0') return false;
    throw refuse(`${name} is true or false`);
  };
  const seen = new Set<string>();
  for (const [name, value] of query) {
    const meaning = name === 'tag' || name === 'branch' ? 'ref' : name === 'checksum' ? 'commit' : name;
    if (seen.has(meaning)) throw refuse(`its query says ${meaning} twice`);
    seen.add(meaning);
    switch (name) {
      case 'ref':
        source.ref = value || undefined;
        break;
      case 'tag':
      case 'branch':
        source.ref = value || undefined;
        source.refIs = name;
        break;
      case 'subdir':
        source.subdir = cleanSubdir(value, refuse);
        break;
      case 'commit':
      case 'checksum':
        if (source.commit !== undefined && source.commit !== value) throw refuse('--checksum and its query differ');
        source.commit = value;
        break;
      case 'keep-git-dir':
        source.keepGitDir = bool(name, value);
        break;
      case 'submodules':
        source.submodules = bool(name, value);
        break;
      default:
        throw refuse(
          `the query of a git source has ref, branch, tag, commit, subdir, keep-git-dir and submodules, not ${name.slice(0, 40)}`,
        );
    }
  }
}

function refuseTransport(text: string) {
  const shown = withoutSecrets(text);
  if (/^git:\/\//i.test(text)) {
    return invalidRequest(`ADD ${shown}: git:// is neither encrypted nor authenticated, and is not supported`, {
      hint: 'Write the https:// URL of the repository.',
    });
  }
  return invalidRequest(`ADD ${shown}: repositories over ssh are not supported, as a build has no key`, {
    hint: 'Write the https:// URL, or give the key as a secret: RUN --mount=type=secret,id=key git clone …',
  });
}

/** Names that git itself would refuse, and those that could be read as something else on their way. */
function checkRef(ref: string, refuse: (why: string) => Error): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones that may not be there.
  const isBad = /[\x00-\x20\x7f~^:?*[\\]|\.\.|@\{|^[-/]|\/$|\/\/|\.lock(\/|$)|\.$/.test(ref) || ref.length > 1000;
  if (isBad) throw refuse('what stands for the branch, tag or commit is no name of one');
}

function cleanSubdir(text: string, refuse: (why: string) => Error): string {
  const names = text.split('/').filter((name) => name !== '' && name !== '.');
  if (names.includes('..') || text.includes('\0')) throw refuse('its directory leads out of the repository');
  if (names.some((name) => name.toLowerCase() === '.git')) throw refuse('its directory is git’s own');
  return names.join('/');
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
