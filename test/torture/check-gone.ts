import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../packages/server/src/platform/process.ts';
import { instanceTag } from '../../packages/server/src/runtime/instance-tag.ts';
import { litterOf } from '../support/litter.ts';
import { loopsOf } from './check-litter.ts';

/** What is left on the machine of a server whose sandboxes were deleted, which was stopped, and whose state directory is gone. */
export async function checkGone(stateDir: string): Promise<string[]> {
  const tag = instanceTag(stateDir);
  const [litter, loops, tables] = await Promise.all([
    litterOf(stateDir),
    loopsOf(stateDir),
    run('nft', ['list', 'tables'], { timeoutMs: 10_000 }),
  ]);
  const short = createHash('sha256').update(stateDir).digest('hex').slice(0, 12);
  const paths = [
    `/run/darkroom-${tag}`,
    join('/run/darkroom', `postgres-${short}`),
    join('/run/darkroom', `view-${short}`),
  ];
  return [
    ...Object.entries(litter).flatMap(([kind, things]: [string, string[]]) =>
      things.map((thing) => `${kind}: ${thing}`),
    ),
    ...loops.map(({ device, file }) => `/dev/${device} over ${file}`),
    ...paths.filter((path) => existsSync(path)),
    ...(tables.stdout.includes(tag) ? [`nft table of ${tag}`] : []),
  ].map((text) => `left at the end: ${text}`);
}
