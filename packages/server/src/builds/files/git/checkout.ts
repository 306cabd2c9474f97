import { posix } from 'node:path';
import { DarkroomError, invalidRequest } from '../../../platform/errors.ts';
import { type GitJail, JailFailure, runJailed } from './git-jail.ts';

/** One commit as it is checked out. */
export interface CheckedOut {
  commit: string;
  /** Other repositories that it has inside. */
  submodules: { path: string; commit: string }[];
  sizeBytes: number;
  entries: number;
}

export interface CheckoutOptions {
  pack: AsyncIterable<Buffer>;
  /** The commit, or a tag on it. */
  id: string;
  objectFormat: 'sha1' | 'sha256';
  /** Both as the jail has them, below `/work`. */
  gitDirectory: string;
  tree: string;
  maxBytes: number;
  maxEntries: number;
  /** Kept in the configuration, for who looks at the repository later. */
  origin: string;
}

const INDEX = `set -eu
id=$1 format=$2 max=$3 dir=$4
git init -q --bare --template= --object-format="$format" "$dir"
export GIT_DIR="$dir"
git index-pack --stdin --threads=1 --max-input-size="$max" >/dev/null
commit=$(git rev-parse -q --verify "$id^{commit}") || { echo "it has no commit $id" >&2; exit 9; }
printf '%s\\0' "$commit"
exec git ls-tree -r -t -z -l --full-tree "$commit"`;

const CHECK_OUT = `set -eu
commit=$1 dir=$2 tree=$3 origin=$4
export GIT_DIR="$dir"
echo "$commit" > "$dir/shallow"
git config core.bare false
git config remote.origin.url "$origin"
git config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*'
git --work-tree="$tree" checkout -q -f --detach "$commit"
time=$(git show -s --format=%ct "$commit")
exec find "$tree" -path "$dir" -prune -o -exec touch -h -d "@$time" {} +`;

/** Takes a pack in, looks at what the commit has, and writes its files. Raises `invalid_request` or `quota_exceeded` for what it may not have. */
export async function checkOut(jail: GitJail, options: CheckoutOptions): Promise<CheckedOut> {
  const { pack, id, objectFormat, gitDirectory, tree, maxBytes } = options;
  const listing = new Listing(options);
  await orRefused(
    runJailed(jail, {
      script: INDEX,
      args: [id, objectFormat, String(maxBytes), gitDirectory],
      input: pack,
      onOutput: (chunk) => listing.add(chunk),
    }),
  );
  const found = listing.end();
  await orRefused(runJailed(jail, { script: CHECK_OUT, args: [found.commit, gitDirectory, tree, options.origin] }));
  return found;
}

/** Of a repository that is checked out: the URLs of its submodules by their paths. */
export async function submoduleUrls(
  jail: GitJail,
  commit: string,
  gitDirectory: string,
): Promise<ReadonlyMap<string, string>> {
  let text = '';
  const script = `set -eu
exec git --git-dir="$2" config -z --blob "$1:.gitmodules" --get-regexp '^submodule\\..*\\.(path|url)$'`;
  await orRefused(
    runJailed(jail, {
      script,
      args: [commit, gitDirectory],
      onOutput: (chunk) => {
        text += chunk.toString('latin1');
        if (text.length > MAX_MODULES_BYTES) throw invalidRequest('its .gitmodules is too long');
      },
    }),
  );
  const paths = new Map<string, string>();
  const urls = new Map<string, string>();
  for (const entry of Buffer.from(text, 'latin1').toString('utf8').split('\0')) {
    const [, name = '', key, value] = /^submodule\.([\s\S]*)\.(path|url)\n([\s\S]*)$/.exec(entry) ?? [];
    if (key === 'path' && value !== undefined) paths.set(name, posix.normalize(value));
    if (key === 'url' && value !== undefined) urls.set(name, value);
  }
  return new Map([...paths].map(([name, path]) => [path, urls.get(name) ?? '']));
}

const MAX_MODULES_BYTES = 1024 * 1024;
const MAX_SUBMODULES = 100;

/** `COMMIT`, then `MODE TYPE ID SIZE\tPATH` for everything in it, each with a zero byte behind it. */
class Listing {
  readonly #limits: Pick<CheckoutOptions, 'maxBytes' | 'maxEntries'>;
  readonly #found: CheckedOut = { commit: '', submodules: [], sizeBytes: 0, entries: 0 };
  #rest = '';

  constructor(limits: Pick<CheckoutOptions, 'maxBytes' | 'maxEntries'>) {
    this.#limits = limits;
  }

  add(chunk: Buffer): void {
    const parts = (this.#rest + chunk.toString('latin1')).split('\0');
    this.#rest = parts.pop() ?? '';
    for (const part of parts) this.#take(part);
  }

  end(): CheckedOut {
    if (this.#found.commit === '') throw new JailFailure('git said nothing');
    return this.#found;
  }

  #take(line: string): void {
    if (this.#found.commit === '') {
      this.#found.commit = line;
      return;
    }
    const { maxBytes, maxEntries } = this.#limits;
    const [, mode, id = '', size, path = ''] = /^(\d+) \S+ (\S+) +(\S+)\t([\s\S]*)$/.exec(line) ?? [];
    this.#found.entries += 1;
    if (this.#found.entries > maxEntries)
      throw new DarkroomError('quota_exceeded', `it has more than ${maxEntries} files`);
    if (size !== undefined && size !== '-') this.#found.sizeBytes += Number(size);
    if (this.#found.sizeBytes > maxBytes)
      throw new DarkroomError('quota_exceeded', `its files have more than ${maxBytes} bytes`);
    if (mode !== '160000') return;
    this.#found.submodules.push({ path: Buffer.from(path, 'latin1').toString('utf8'), commit: id });
    if (this.#found.submodules.length > MAX_SUBMODULES)
      throw invalidRequest(`it has more than ${MAX_SUBMODULES} submodules`);
  }
}

async function orRefused(running: Promise<void>): Promise<void> {
  try {
    await running;
  } catch (error) {
    if (error instanceof JailFailure)
      throw invalidRequest(`its files could not be read: ${printable(error.message)}`, { cause: error });
    throw error;
  }
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 500);
}
