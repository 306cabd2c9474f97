import { type RemoteSource, remoteSources } from '../files/remote-source.ts';
import type { Fetched, TransferInstruction } from '../files/transfer-types.ts';
import type { StepPlace } from './step-types.ts';

/** What ADD takes from the network. */
export interface FetchedSources {
  /** Enough for a digest: what a checksum or a commit says is not fetched for that. */
  known: ReadonlyMap<number, Fetched>;
  /** All of them, on disk until the build has ended. */
  all(signal: AbortSignal): Promise<ReadonlyMap<number, Fetched>>;
}

export interface FetchSettings {
  checksum: string | undefined;
  keepGitDir: boolean;
  maxBytes: number;
}

const SHA256 = /^sha256:([0-9a-f]{64})$/;

export async function prepareFetched(
  instruction: TransferInstruction,
  { tools, hold, signal }: StepPlace,
  { checksum, keepGitDir, maxBytes }: FetchSettings,
): Promise<FetchedSources> {
  const fetched = new Map<number, Fetched>();
  const left: RemoteSource[] = [];
  const known = new Map<number, Fetched>();

  async function fetch(source: RemoteSource, fetchSignal: AbortSignal): Promise<void> {
    // Each alone in its directory, since several may have one name.
    const directory = await tools.scratch.make();
    hold.add(() => tools.scratch.remove(directory));
    const options = { directory, checksum, maxBytes, signal: fetchSignal };
    fetched.set(source.index, await tools.fetcher.fetch(source, options));
  }

  for (const source of remoteSources(instruction, checksum, keepGitDir)) {
    const identified = fromChecksum(source, checksum) ?? (await tools.fetcher.identify(source, signal));
    if (identified === undefined) await fetch(source, signal);
    else left.push(identified.pinned);
    const told = identified?.fetched ?? fetched.get(source.index);
    if (told !== undefined) known.set(source.index, told);
  }
  return {
    known,
    async all(fetchSignal) {
      for (const source of left) if (!fetched.has(source.index)) await fetch(source, fetchSignal);
      return fetched;
    },
  };
}

/** What a checksum says need not be fetched to be known. */
function fromChecksum(source: RemoteSource, checksum: string | undefined) {
  const [, sha256] = SHA256.exec(checksum ?? '') ?? [];
  if (source.kind !== 'url' || sha256 === undefined) return undefined;
  return { fetched: { directory: '', name: source.name, sha256 }, pinned: source };
}
