import { mkdtemp, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RegistryServer, startRegistryServer } from '../../packages/server/src/images/testing/registry-server.ts';
import { run } from '../../packages/server/src/platform/process.ts';
import { instanceTag } from '../../packages/server/src/runtime/instance-tag.ts';
import { type Darkroom, startDarkroom } from '../support/darkroom.ts';
import { eventually } from '../support/eventually.ts';
import { litterOf } from '../support/litter.ts';
import { makeImages } from './images.ts';
import { emptyModel, type Files, type Model, only, type SnapshotModel } from './model.ts';
import { OperationLog } from './operation-log.ts';
import { RESTING_SNAPSHOT, untilState } from './operations/wait.ts';
import { createRequests } from './requests.ts';

/** A registry with small images, a server over a state directory of its own, and what its clients were told. */
export interface World {
  darkroom: Darkroom;
  model: Model;
  log: OperationLog;
  images: { reference: string; files: Files }[];
  shared: SnapshotModel[];
  /** Failpoints that the server looks up as it runs. */
  arm(failpoints: string): Promise<void>;
  /** What the server that was killed had to say is kept; that of the last ones. */
  noteOutput(): void;
  output(): string;
  close(options: { keepState: boolean }): Promise<void>;
}

const MOST_OUTPUTS = 3;
export const READY = { readyNamespaces: 4, readyDisks: 2 };

export async function makeWorld(): Promise<World> {
  const registry = await startRegistryServer();
  const directory = await mkdtemp(join(tmpdir(), 'darkroom-torture-'));
  let darkroom: Darkroom | undefined;
  const armed = join(directory, 'failpoints');
  const close = async ({ keepState }: { keepState: boolean }) => {
    if (keepState && darkroom !== undefined) await leaveFiles(darkroom);
    else if (darkroom !== undefined) {
      await writeFile(armed, '');
      // A server that does not run takes none of its sandboxes along.
      if (await hasEnded(darkroom)) await darkroom.restart({ quickly: true });
      await darkroom.destroy();
    }
    await registry.close();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    darkroom = await startDarkroom({
      config: {
        runtime: READY,
        // The least that serves the clients: a start makes and an end drops them.
        database: { maxConnections: 5 },
        ssh: { enabled: false },
        // So that layers of hundreds of cycles do not pile up, and the cache gives up what it has.
        builds: { cacheMaxBytes: 500_000 },
      },
      env: { DARKROOM_FAILPOINTS: `@${armed}`, DARKROOM_LOG_LEVEL: 'info' },
    });
    const images = await pushImages(registry);
    const log = new OperationLog();
    const model = emptyModel();
    const shared = await makeShared(darkroom, log, images);
    for (const snapshot of shared) model.snapshots.add(snapshot);
    const server = darkroom;
    const outputs: string[] = [];
    const noteOutput = () => {
      outputs.push(server.output());
      if (outputs.length > MOST_OUTPUTS) outputs.shift();
    };
    const arm = async (failpoints: string) => {
      // In one step: the server may read it at any moment.
      await writeFile(`${armed}.new`, failpoints);
      await rename(`${armed}.new`, armed);
    };
    const output = () => [...outputs, server.output()].join('\n--- killed\n');
    return { darkroom, model, log, images, shared, arm, noteOutput, output, close };
  } catch (error) {
    await close({ keepState: false });
    throw error;
  }
}

const hasEnded = ({ ended }: Darkroom) => Promise.race([ended.then(() => true), sleep(100, false)]);

/** For whoever looks for the cause: the files as they are, and nothing that runs or is mounted. */
async function leaveFiles(darkroom: Darkroom): Promise<void> {
  const { stateDir } = darkroom;
  await darkroom.kill();
  const { contained, cgroups } = await litterOf(stateDir);
  // What is frozen does not end.
  for (const path of cgroups) {
    await writeFile(join(path, 'freezer.state'), 'THAWED').catch(() => {});
    await writeFile(join(path, 'cgroup.freeze'), '0').catch(() => {});
  }
  for (const line of contained) {
    try {
      process.kill(Number(line.split(' ')[0]), 'SIGKILL');
    } catch {
      // It has ended.
    }
  }
  await eventually('all sandboxes have ended', async () => {
    const left = await litterOf(stateDir);
    return left.contained.length === 0 ? true : undefined;
  });
  for (const path of cgroups.reverse()) await rmdir(path).catch(() => {});
  await run('umount', ['--lazy', join(stateDir, 'pool')], { timeoutMs: 10_000, okCodes: [0, 1, 32] });
  const tag = instanceTag(stateDir);
  await run('nft', ['delete', 'table', 'inet', `darkroom_${tag}`], { timeoutMs: 10_000, okCodes: [0, 1] });
  await rm(`/run/darkroom-${tag}`, { recursive: true, force: true });
}

async function pushImages(registry: RegistryServer): Promise<World['images']> {
  const images = await makeImages();
  for (const { repository, image } of images) await registry.push(`${repository}:1`, image);
  return images.map(({ repository, files }) => ({ reference: `${registry.host}/${repository}:1`, files }));
}

/** One of each image, which nobody changes. */
async function makeShared(darkroom: Darkroom, log: OperationLog, images: World['images']): Promise<SnapshotModel[]> {
  const requests = createRequests(darkroom, log, 'setup');
  try {
    return await Promise.all(
      images.map(async ({ reference, files }, index): Promise<SnapshotModel> => {
        const name = `shared-${index}`;
        const { id } = (
          await requests.api('/snapshots', { method: 'POST', body: { name, imageName: reference } })
        ).json();
        await untilState(requests, `/snapshots/${id}`, RESTING_SNAPSHOT);
        return {
          name,
          id,
          fates: only('active'),
          files,
          settled: true,
          depth: 0,
          owner: -1,
          retained: false,
          verified: false,
        };
      }),
    );
  } finally {
    await requests.close();
  }
}
