import { setTimeout as sleep } from 'node:timers/promises';
import { withDatabase } from '../../../support/database.ts';
import { Unanswered, Violation } from '../../requests.ts';
import {
  type Contents,
  expectInSandboxOf,
  expectUsable,
  newSandbox,
  post,
  removeSandbox,
  resting,
  restsIn,
  run,
  writeFile,
} from '../asks.ts';
import type { Operation, Operations } from '../operation.ts';
import type { World } from '../world.ts';

/** The sandbox goes on, with what runs in it; the snapshot is whole, or says why there is none, and its name can be used again. */
const capture: Operation = async (world, strike) => {
  const { id } = await newSandbox(world);
  const files = { '/root/before': await writeFile(world, id, '/root/before') };
  await run(world, id, 'sh -c "while :; do date >> /root/beat; sleep 0.1; done" > /dev/null 2>&1 &');
  const name = world.newName('captured');
  const answered = await strike(() => post(world, `/sandbox/${id}/snapshot`, { name }));
  await restsIn(world, 'sandbox', id, 'started');
  await expectUsable(world, id, files);
  const beats = await run(world, id, 'wc -l < /root/beat; sleep 0.3; wc -l < /root/beat');
  const [before, after] = beats.split('\n').map(Number);
  if (after === undefined || before === undefined || after <= before) throw new Violation('a process stands still');
  let found = await resting(world, 'snapshots', name);
  if (answered !== undefined && found?.state !== 'active') throw new Violation(`${name} is ${found?.state}`);
  if (found?.state === 'error') await world.requests.api(`/snapshots/${found.id}`, { method: 'DELETE' });
  if (found?.state !== 'active') {
    await post(world, `/sandbox/${id}/snapshot`, { name });
    found = await restsIn(world, 'snapshots', name, 'active');
  }
  await expectInSandboxOf(world, name, files);
  await removeSandbox(world, id);
};

const LEVELS = 6;

/** Captures on captures, until the last of them are put together in the background. */
const flatten: Operation = async (world, strike) => {
  const files: Record<string, string> = {};
  let last = world.base;
  const deepen = async (level: number) => {
    const { id } = await newSandbox(world, last);
    files[`/root/level-${level}`] = await writeFile(world, id, `/root/level-${level}`);
    last = world.newName('level');
    await post(world, `/sandbox/${id}/snapshot`, { name: last });
    return id;
  };
  for (let level = 1; level < LEVELS; level += 1) await removeSandbox(world, await deepen(level));
  let running = '';
  await strike(async () => {
    running = await deepen(LEVELS);
    await untilFlat(world, last);
  });
  await untilFlat(world, last);
  await expectInSandboxOf(world, last, files);
  // What ran keeps the layers that it has.
  await expectUsable(world, running, files);
  await removeSandbox(world, running);
};

async function untilFlat({ darkroom: { stateDir } }: World, name: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  const count = () =>
    withDatabase(stateDir, async (client) => {
      const { rows } = await client.query<{ count: number }>(
        "select cardinality(layers) as count from snapshots where name = $1 and state = 'active'",
        [name],
      );
      return rows[0]?.count ?? 0;
    }).catch((error: unknown) => {
      // It ends with the server that is killed.
      throw new Unanswered(String(error));
    });
  while ((await count()) > 4) {
    if (performance.now() > deadline) throw new Violation(`the layers of ${name} are not put together`);
    await sleep(100);
  }
}

export const captures = {
  'capture.row-written': capture,
  'capture.marked': capture,
  'capture.frozen': capture,
  'capture.cloned': capture,
  'capture.thawing': capture,
  'capture.thawed': capture,
  'capture.copied': capture,
  'capture.layer-published': capture,
  'capture.active': capture,
  'seal.disk-moved': capture,
  'seal.disk-synced': capture,
  'seal.disk-named': capture,
  'seal.disk-renamed': capture,
  'flatten.merged': flatten,
  'flatten.synced': flatten,
  'flatten.replaced': flatten,
} satisfies Operations;

export type { Contents };
