import { readdirSync, readFileSync } from 'node:fs';

/** One Dockerfile with what it is built from. */
export interface CorpusCase {
  name: string;
  /** The file that it stands in, without its ending. */
  area: string;
  dockerfile: string;
  buildArgs: ReadonlyMap<string, string>;
  secrets: ReadonlyMap<string, string>;
  target: string | undefined;
  /** In the context besides the files that all cases have, by path. */
  files: ReadonlyMap<string, string>;
  /** What our error must say, where we do not build it. */
  says: RegExp | undefined;
  /** Why we build it and BuildKit does not, or the other way round, where `says` has what we say. */
  why: string | undefined;
  /** Paths that are not compared, and why. */
  without: readonly string[];
  /** Why times of directories are not compared, or times of all files where it begins with `all`. */
  untimed: string | undefined;
  /** It is compared with what buildah makes each time. */
  buildah: boolean;
}

/** With the addresses of what ADD fetches from, for those that ask for them. */
export function withServers(each: CorpusCase, servers: { files: string; git: string }): CorpusCase {
  const all = [
    ['FILES', servers.files],
    ['GIT', servers.git],
  ] as const;
  const asked = all.filter(([name]) => new RegExp(`^ARG ${name}$`, 'm').test(each.dockerfile));
  return { ...each, buildArgs: new Map([...each.buildArgs, ...asked]) };
}

/** Names the case in a recording. */
export function keyOf({ area, name }: Pick<CorpusCase, 'area' | 'name'>): string {
  return `${area}: ${name}`;
}

const DIRECTORY = new URL('../cases/', import.meta.url);

/**
 * All cases of `cases/*.txt`. One begins at `=== name`, has lines `key: value`, and then files, each after a line `--- path`; the last one is
 * its Dockerfile.
 */
export function readCases(): CorpusCase[] {
  const names = readdirSync(DIRECTORY).filter((name) => name.endsWith('.txt'));
  return names.sort().flatMap((name) => casesIn(readFileSync(new URL(name, DIRECTORY), 'utf8'), name.slice(0, -4)));
}

function casesIn(text: string, area: string): CorpusCase[] {
  const [, ...blocks] = `\n${text}`.split('\n=== ');
  return blocks.map((block) => readCase(block, area));
}

function readCase(block: string, area: string): CorpusCase {
  const [head = '', ...parts] = block.replace(/\n*$/, '\n').split('\n--- ');
  const [name = '', ...fields] = head.split('\n').filter((line) => line !== '');
  const values = (key: string) =>
    fields.filter((field) => field.startsWith(`${key}: `)).map((field) => field.slice(key.length + 2));
  const files = new Map(parts.map((part) => splitAt(part, '\n')));
  const [lines] = values('lines');
  const [says] = values('says');
  const written = files.get('Dockerfile');
  if (written === undefined) throw new Error(`${area}: ${name} has no Dockerfile`);
  files.delete('Dockerfile');
  return {
    name,
    area,
    dockerfile: lines === 'crlf' ? written.replaceAll('\n', '\r\n') : lines === 'bom' ? `\uFEFF${written}` : written,
    buildArgs: new Map(values('arg').map((value) => splitAt(value, '='))),
    secrets: new Map(values('secret').map((value) => splitAt(value, '='))),
    target: values('target')[0],
    files,
    says: says === undefined ? undefined : new RegExp(says, 's'),
    why: values('why')[0],
    without: values('without').flatMap((value) => value.split(', because ')[0]?.split(' ') ?? []),
    untimed: values('untimed')[0],
    buildah: values('buildah')[0] === 'same',
  };
}

function splitAt(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
