import { setTimeout as sleep } from 'node:timers/promises';
import { type FsckRequestDto, fsckLineSchema } from '@darkroom/contract';
import type { Requests } from './requests.ts';

/** What was asked for last is still being done. */
const LIMIT_MS = 30_000;
const POLL_MS = 250;

/** What `darkroom fsck` says of the database against the disk. */
export async function checkFsck(requests: Requests, depth: FsckRequestDto['depth']): Promise<string[]> {
  const deadline = performance.now() + LIMIT_MS;
  for (;;) {
    const found = await look(requests, depth);
    if (found.length === 0 || performance.now() > deadline) return found;
    await sleep(POLL_MS);
  }
}

async function look(requests: Requests, depth: FsckRequestDto['depth']): Promise<string[]> {
  const { text } = await requests.api('/admin/fsck', { method: 'POST', body: { repair: false, depth } });
  const lines = text
    .split('\n')
    .filter(Boolean)
    .map((line) => fsckLineSchema.parse(JSON.parse(line)));
  if (lines.at(-1)?.type !== 'end') return [`fsck did not come to its end: ${text.slice(-500)}`];
  return lines.flatMap((line) =>
    line.type === 'finding' ? [`fsck, ${line.kind}: ${line.id} (${line.where}): ${line.problem}`] : [],
  );
}
