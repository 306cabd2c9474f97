import { readFileSync } from 'node:fs';
import { describeTree, type TreeNode } from '../../../images/unpack/testing/tree.ts';
import type { CorpusCase } from './read-cases.ts';

/** What an image is, in a form that a person can compare. */
export interface ImageDescription {
  /** One line for each file that is not as in the base, and `- path` for each that is there no more. */
  files: string[];
  /** As the image config has it, without what is empty. */
  config: Record<string, unknown>;
}

const NOW_SINCE = 1_700_000_000n * 1_000_000_000n;
const SHOWN_BYTES = 400n;

/** Path, type, mode, owner, the time where it is an old one, content or target, links and attributes. */
export function fileLines(root: string, idBase: number): string[] {
  const tree = describeTree(root, { idBase, withoutXattrs: /^(trusted\.|security\.selinux$)/ });
  return Object.entries(tree).map(([path, node]) => lineOf(root, path, node));
}

function lineOf(root: string, path: string, node: TreeNode): string {
  // What no archive lists has no time in a layer of ours.
  const isOld = node.mtimeNs > 0n && node.mtimeNs < NOW_SINCE;
  const time = isOld ? String(node.mtimeNs / 1_000_000_000n) : 'now';
  const parts = [shown(path || '/'), node.type, node.mode, `${node.uid}:${node.gid}`, time];
  if (node.type === 'symlink') parts.push(`-> ${shown(node.content ?? '')}`);
  else if (node.content !== undefined) parts.push(contentOf(root, path, node));
  if (node.linkedTo !== undefined) parts.push(`= ${shown(node.linkedTo)}`);
  for (const [name, value] of Object.entries(node.xattrs ?? {})) parts.push(`${name}=${value}`);
  return parts.join(' ');
}

function contentOf(root: string, path: string, { size = 0n, content = '' }: TreeNode): string {
  const bytes = size <= SHOWN_BYTES ? readFileSync(Buffer.from(`${root}${path}`, 'latin1')) : undefined;
  const text = bytes?.toString('utf8');
  if (text !== undefined && !text.includes('\uFFFD') && !text.includes('\0')) return JSON.stringify(text);
  return `${size} bytes ${content.slice(0, 12)}`;
}

/** Paths come as latin1, so that any bytes can be told. */
function shown(path: string): string {
  return path.replace(/[^\x21-\x5b\x5d-\x7e]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** What differs from the base, whose own files say nothing about a build. */
export function changesFrom(base: readonly string[], lines: readonly string[]): string[] {
  const known = new Set(base);
  const paths = new Set(lines.map(pathOf));
  const missing = base.map(pathOf).filter((path) => !paths.has(path));
  const isFromBase = missing.length < base.length / 2;
  return [...lines.filter((line) => !known.has(line)), ...(isFromBase ? missing.map((path) => `- ${path}`) : [])];
}

/** Without what is not compared. */
export function compared({ files, config }: ImageDescription, each: CorpusCase): ImageDescription {
  const kept = files.filter((line) => !each.without.includes(pathOf(line)));
  const untimed = each.untimed?.startsWith('all') ? /^(\S+ \S+ \S+ \S+) \S+/ : /^(\S+ directory \S+ \S+) \S+/;
  const timeless = (line: string) => line.replace(untimed, '$1');
  return { files: each.untimed === undefined ? kept : kept.map(timeless), config };
}

function pathOf(line: string): string {
  return line.slice(0, line.indexOf(' '));
}

/** The `config` of an OCI image config; empty values and none are the same, sets are in order. */
export function configOf(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const entries = Object.entries(config).flatMap(([name, value]): [string, unknown][] => {
    const plain = !isRecord(value) ? value : SETS.has(name) ? Object.keys(value).sort() : sorted(value);
    return isEmpty(plain) || WITHOUT.has(name) ? [] : [[name, plain]];
  });
  return sorted(Object.fromEntries(entries));
}

function sorted(record: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const SETS = new Set(['ExposedPorts', 'Volumes']);
/** Of Docker on Windows; BuildKit leaves it in whatever a stage says of CMD and ENTRYPOINT. */
const WITHOUT = new Set(['ArgsEscaped']);

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === false) return true;
  if (Array.isArray(value)) return value.length === 0;
  return isRecord(value) && Object.keys(value).length === 0;
}
