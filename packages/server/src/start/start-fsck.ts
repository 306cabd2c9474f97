import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ContextStore } from '../builds/contexts/context-store.ts';
import { createFsck, type Fsck } from '../fsck/index.ts';
import type { Scene } from '../fsck/types.ts';
import { errnoOf } from '../platform/errors.ts';
import type { Ground } from './ground.ts';
import type { Layers } from './start-layers.ts';

/** What no row names may be on its way to get one for as long as the longest work takes. */
const GRACE_MS = 2 * 60 * 60_000;

export interface FsckSite extends Layers {
  poolRoot: string;
  contexts: ContextStore;
  containers: Scene['containers'];
  /** No server works on the state directory. */
  offline?: boolean;
  openedWith?: Scene['openedWith'];
}

export type FsckGround = Pick<Ground, 'config' | 'log' | 'db' | 'jobs' | 'secrets'> & {
  instance: Pick<Ground['instance'], 'runnerId'>;
};

export function startFsck(ground: FsckGround, site: FsckSite): Fsck {
  const { config, log, db, jobs, secrets, instance } = ground;
  return createFsck({
    db,
    jobs,
    secrets,
    log,
    runnerId: instance.runnerId,
    stateDir: config.stateDir,
    offline: false,
    openedWith: [],
    startedAt: new Date(performance.timeOrigin),
    graceMs: GRACE_MS,
    logs: filesOfLogs(join(config.stateDir, 'build-logs')),
    ...site,
  });
}

/** Of builds that are gone: nobody writes to them or reads them any more. */
function filesOfLogs(directory: string): Scene['logs'] {
  const suffix = '.log';
  return {
    async list() {
      const names = await readdir(directory).catch((error: unknown) => {
        if (errnoOf(error) === 'ENOENT') return [];
        throw error;
      });
      return names.filter((name) => name.endsWith(suffix)).map((name) => name.slice(0, -suffix.length));
    },
    remove: (id) => rm(join(directory, `${id}${suffix}`), { force: true }),
  };
}
