import { invalidRequest } from '../../../platform/errors.ts';
import { COMMIT_ID, type GitSource } from './git-source.ts';
import { DELIMITER, FLUSH, malformed, type Packet, packet, readPackets, textOf } from './pkt-line.ts';
import type { GitServer } from './smart-http.ts';

/** What a server said of itself. */
export interface Advertisement {
  version: 0 | 2;
  capabilities: ReadonlySet<string>;
  objectFormat: 'sha1' | 'sha256';
  /** Of the older protocol only. */
  refs: ReadonlyMap<string, Ref>;
}

export interface Ref {
  id: string;
  /** What an annotated tag is on. */
  peeled: string | undefined;
}

/** A server of the older protocol tells all its refs unasked. */
const MAX_REF_BYTES = 64 * 1024 * 1024;
const MAX_PACKETS = 1_000_000;

export async function readAdvertisement(server: GitServer, signal: AbortSignal): Promise<Advertisement> {
  const lines: string[] = [];
  for await (const each of limited(readPackets(bounded(server.advertise(signal))))) {
    if (each.kind === 'data') lines.push(textOf(each));
  }
  if (lines[0]?.startsWith('# service=') === true) lines.shift();
  const [first = ''] = lines;
  if (first === 'version 2') {
    const capabilities = new Set(lines.slice(1));
    return { version: 2, capabilities, objectFormat: formatIn(capabilities), refs: new Map() };
  }
  if (first === 'version 1') lines.shift();
  const [head = '', list = ''] = (lines[0] ?? '').split('\0');
  const capabilities = new Set(list.split(' ').filter((each) => each !== ''));
  const refs = readRefs([head, ...lines.slice(1)].filter((line) => !line.startsWith('shallow ')));
  return { version: 0, capabilities, objectFormat: formatIn(capabilities), refs };
}

function formatIn(capabilities: ReadonlySet<string>): 'sha1' | 'sha256' {
  return capabilities.has('object-format=sha256') ? 'sha256' : 'sha1';
}

/** The id behind what the source names, and that of the commit where a tag is between. */
export async function resolveRef(
  server: GitServer,
  advertisement: Advertisement,
  source: Pick<GitSource, 'ref' | 'refIs'>,
  signal: AbortSignal,
): Promise<Ref> {
  const { ref } = source;
  if (ref !== undefined && source.refIs === 'any' && COMMIT_ID.test(ref)) return { id: ref, peeled: undefined };
  const names = candidates(source);
  const refs = advertisement.version === 2 ? await listRefs(server, advertisement, names, signal) : advertisement.refs;
  for (const name of names) {
    const found = refs.get(name);
    if (found !== undefined) return found;
  }
  if (ref === undefined) throw invalidRequest('the repository is empty, or has no default branch');
  throw invalidRequest(`the repository has no branch or tag ${ref.slice(0, 200)}`, {
    hint: 'A commit is named by its whole id.',
  });
}

/** Where a name is looked for, in this order: as git itself does, a branch wins over a tag of the same name. */
function candidates({ ref, refIs }: Pick<GitSource, 'ref' | 'refIs'>): string[] {
  if (ref === undefined || ref === 'HEAD') return ['HEAD'];
  if (refIs === 'branch') return [`refs/heads/${ref}`];
  if (refIs === 'tag') return [`refs/tags/${ref}`];
  if (ref.startsWith('refs/')) return [ref];
  return [`refs/heads/${ref}`, `refs/tags/${ref}`, `refs/${ref}`];
}

async function listRefs(
  server: GitServer,
  { objectFormat }: Advertisement,
  names: readonly string[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Ref>> {
  const body = [
    packet('command=ls-refs\n'),
    packet(`object-format=${objectFormat}`),
    DELIMITER,
    packet('peel\n'),
    ...names.map((name) => packet(`ref-prefix ${name}\n`)),
    FLUSH,
  ];
  const lines: string[] = [];
  for await (const each of limited(readPackets(bounded(server.request(body.join(''), signal))))) {
    if (each.kind === 'data') lines.push(textOf(each));
  }
  return readRefs(lines);
}

/** `ID NAME`, with `peeled:ID` behind it in one protocol, and a line of its own with `NAME^{}` in the other. */
function readRefs(lines: readonly string[]): ReadonlyMap<string, Ref> {
  const refs = new Map<string, Ref>();
  for (const line of lines) {
    const [id = '', name = '', ...more] = line.split(' ');
    if (!COMMIT_ID.test(id)) {
      if (id === 'unborn') continue;
      throw malformed('its list of refs is not git’s');
    }
    if (/^0+$/.test(id)) continue;
    const plain = name.endsWith('^{}') ? name.slice(0, -3) : undefined;
    const tag = plain === undefined ? undefined : refs.get(plain);
    if (plain !== undefined) {
      if (tag !== undefined) refs.set(plain, { ...tag, peeled: id });
      continue;
    }
    const peeled = more.find((attribute) => attribute.startsWith('peeled:'))?.slice('peeled:'.length);
    refs.set(name, { id, peeled: peeled !== undefined && COMMIT_ID.test(peeled) ? peeled : undefined });
  }
  return refs;
}

async function* bounded(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > MAX_REF_BYTES) throw invalidRequest('the repository has too many refs');
    yield chunk;
  }
}

async function* limited(packets: AsyncIterable<Packet>): AsyncGenerator<Packet> {
  let count = 0;
  for await (const each of packets) {
    count += 1;
    if (count > MAX_PACKETS) throw invalidRequest('the repository has too many refs');
    yield each;
  }
}
