/** What porcelain version 2 says of a repository (`git status --porcelain=v2 --branch -z`). */
export interface ParsedStatus {
  /** Undefined when HEAD is on no branch. */
  branch: string | undefined;
  upstream: string | undefined;
  /** Only where the upstream branch was fetched. */
  counts: { ahead: number; behind: number } | undefined;
  files: StatusFile[];
}

export type StatusWord =
  | 'Unmodified'
  | 'Untracked'
  | 'Modified'
  | 'Added'
  | 'Deleted'
  | 'Renamed'
  | 'Copied'
  | 'Updated but unmerged';

export interface StatusFile {
  path: string;
  /** Where it was renamed or copied from. */
  from: string | undefined;
  staging: StatusWord;
  worktree: StatusWord;
}

const WORDS: Readonly<Record<string, StatusWord>> = {
  '.': 'Unmodified',
  M: 'Modified',
  // A file that became a link, for example.
  T: 'Modified',
  A: 'Added',
  D: 'Deleted',
  R: 'Renamed',
  C: 'Copied',
};

/** Fields before the path, by the kind of the entry. */
const FIELDS = { '1': 8, '2': 9, u: 10 } as const;

export function parseStatus(output: string): ParsedStatus {
  const status: ParsedStatus = { branch: undefined, upstream: undefined, counts: undefined, files: [] };
  const records = output.split('\0');
  for (let at = 0; at < records.length; at++) {
    const record = records[at] ?? '';
    const kind = record[0];
    if (kind === '#') {
      readHeader(status, record.slice(2));
    } else if (kind === '?') {
      status.files.push({ path: record.slice(2), from: undefined, staging: 'Untracked', worktree: 'Untracked' });
    } else if (kind === '1' || kind === '2' || kind === 'u') {
      const from = kind === '2' ? records[++at] : undefined;
      status.files.push({ path: afterFields(record, FIELDS[kind]), from, ...wordsOf(kind, record) });
    }
  }
  return status;
}

function readHeader(status: ParsedStatus, header: string): void {
  const space = header.indexOf(' ');
  const value = header.slice(space + 1);
  switch (header.slice(0, space)) {
    case 'branch.head':
      if (value !== '(detached)') status.branch = value;
      break;
    case 'branch.upstream':
      status.upstream = value;
      break;
    case 'branch.ab': {
      const [, ahead, behind] = /^\+(\d+) -(\d+)$/.exec(value) ?? [];
      if (ahead !== undefined && behind !== undefined) {
        status.counts = { ahead: Number(ahead), behind: Number(behind) };
      }
    }
  }
}

function wordsOf(kind: '1' | '2' | 'u', record: string): Pick<StatusFile, 'staging' | 'worktree'> {
  if (kind === 'u') return { staging: 'Updated but unmerged', worktree: 'Updated but unmerged' };
  return { staging: WORDS[record[2] ?? ''] ?? 'Modified', worktree: WORDS[record[3] ?? ''] ?? 'Modified' };
}

/** Paths may have blanks; the fields before them have none. */
function afterFields(record: string, count: number): string {
  let at = 0;
  for (let field = 0; field < count; field++) at = record.indexOf(' ', at) + 1;
  return record.slice(at);
}
