import { join } from 'node:path';
import { strayLogs } from '../../builds/sweep.ts';
import { isLeft } from '../age.ts';
import type { Check, Finding, Scene } from '../types.ts';

/**
 * Logs whose builds are gone. The other way round nothing is wrong: old logs make room for new ones, and a full disk may leave a build without one.
 */
export const buildLogs: Check = {
  name: 'build-logs',
  title: 'logs of builds',
  async *find(scene) {
    for (const id of await strayLogs({ ...scene, isRunning: () => false })) {
      const where = join(scene.stateDir, 'build-logs', `${id}.log`);
      // Where a server runs, garbage collection takes it after a while.
      if (!(await isLeft(scene, where))) continue;
      yield {
        kind: 'log-of-nobody',
        id,
        where,
        problem: 'the build of this log is gone',
        repair: { does: 'remove it', run: () => remove(scene, id) },
      } satisfies Finding;
    }
  },
};

async function remove(scene: Scene, id: string): Promise<string | undefined> {
  if (!(await strayLogs({ ...scene, logs: { list: async () => [id] }, isRunning: () => false })).includes(id))
    return undefined;
  await scene.logs.remove(id);
  return 'removed';
}
