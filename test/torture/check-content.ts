import type { SandboxModel } from './model.ts';
import { LEFT_COMMAND } from './operations/sandboxes.ts';
import type { Requests } from './requests.ts';

/** Where clients and images have files that are known. */
const PLACES = '/t /built /mark';
const [, seconds] = LEFT_COMMAND.split(' ');

/** One command for all of it: the hashes of all files, the commands that were left, and whether its disk can be written. */
const LOOK = [
  `find ${PLACES} -type f -print0 2>/dev/null | xargs -0 -r sha256sum`,
  'echo --',
  // The pattern must not find its own command line.
  `grep -lsz '^${seconds}$' /proc/[0-9]*/cmdline | wc -l`,
  'echo looked > /looked && rm /looked && echo writable',
].join('; ');

export interface Content {
  files: Map<string, string>;
  leftCommands: number;
  isWritable: boolean;
}

export async function readContent(requests: Requests, id: string): Promise<Content> {
  const { result } = await requests.execute(id, LOOK);
  const [hashes = '', rest = ''] = result.split('--\n');
  const [count = '', writable = ''] = rest.split('\n');
  const files = new Map(
    hashes
      .split('\n')
      .filter(Boolean)
      .map((line): [string, string] => [line.slice(66), line.slice(0, 64)]),
  );
  return { files, leftCommands: Number(count), isWritable: writable === 'writable' };
}

/** What differs from what was acknowledged. */
export function differences(known: SandboxModel['files'], found: Content['files']): string[] {
  const wrong: string[] = [];
  for (const [path, hash] of known) {
    const now = found.get(path);
    if (hash !== undefined && now !== hash) wrong.push(`${path} is ${now ?? 'not there'} and must be ${hash}`);
  }
  for (const path of found.keys()) if (!known.has(path)) wrong.push(`${path} must not be there`);
  return wrong;
}

/** Nothing of it is in doubt any more. */
export function settledFiles(known: SandboxModel['files'], found: Content['files']): SandboxModel['files'] {
  return new Map(
    [...known].flatMap(([path, hash]) => {
      const now = hash ?? found.get(path);
      return now === undefined ? [] : [[path, now] as const];
    }),
  );
}
