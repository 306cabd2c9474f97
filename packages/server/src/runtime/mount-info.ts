import { readFile } from 'node:fs/promises';

/** One line of /proc/<pid>/mountinfo (proc_pid_mountinfo(5)). */
export interface MountEntry {
  id: number;
  parentId: number;
  /** The directory inside the file system that is mounted. */
  root: string;
  target: string;
  /** `nosuid`, `noatime`, … of this mount. */
  options: string[];
  /** Mounts and unmounts below it are seen in other namespaces. */
  shared: boolean;
  type: string;
  source: string;
  /** Of the whole file system, such as `rw` or the controllers of a cgroup v1 hierarchy. */
  superOptions: string[];
}

export async function readMounts(pid: number | 'self' = 'self'): Promise<MountEntry[]> {
  return parseMountInfo(await readFile(`/proc/${pid}/mountinfo`, 'utf8'));
}

/** What a path shows: the last mount over exactly this directory. */
export function mountAt(mounts: readonly MountEntry[], target: string): MountEntry | undefined {
  return mounts.findLast((mount) => mount.target === target);
}

export function parseMountInfo(text: string): MountEntry[] {
  return text
    .split('\n')
    .map(parseLine)
    .filter((entry) => entry !== undefined);
}

function parseLine(line: string): MountEntry | undefined {
  // The number of optional fields varies; a lone hyphen ends them.
  const [before, after] = splitOnce(line, ' - ');
  const [id, parentId, , root, target, options, ...optional] = before.split(' ');
  const [type, source, superOptions] = after.split(' ');
  if (root === undefined || target === undefined || type === undefined || source === undefined) return undefined;
  return {
    id: Number(id),
    parentId: Number(parentId),
    root: unescapeOctal(root),
    target: unescapeOctal(target),
    options: options?.split(',') ?? [],
    shared: optional.some((field) => field.startsWith('shared:')),
    type,
    source: unescapeOctal(source),
    superOptions: superOptions?.split(',') ?? [],
  };
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + separator.length)];
}

/** The kernel writes space, tab, newline and backslash as three octal digits, byte by byte. */
function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
