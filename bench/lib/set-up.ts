import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BASE_IMAGE, baseImageLayout } from '../../scripts/base-image.ts';
import { type LocalRegistry, startLocalRegistry } from '../../scripts/local-registry.ts';
import { type Darkroom, startDarkroom } from '../../test/support/darkroom.ts';
import { makeSnapshot } from './darkroom.ts';
import { type Docker, type Podman, startDocker, startPodman } from './peers.ts';

/** What a benchmark runs on. At the end of its `await using` all of it goes, what was made last first, also when the benchmark fails. */
export interface Bench extends AsyncDisposable {
  /** Of its own, on the disk that everyone writes to. */
  readonly directory: string;
  /** Has the base image; Darkroom's mirror of `docker.io`. */
  readonly registry: LocalRegistry;
  /** The base image as the peers call it. */
  readonly image: string;
  /** A server that has a snapshot of the base image under this name. */
  darkroom(snapshot: string, config?: Record<string, unknown>): Promise<Darkroom>;
  /** With the base image pulled. */
  docker(): Promise<Docker>;
  /** With the base image pulled. */
  podman(): Promise<Podman>;
  /** As `podman`; nothing, and says why, on a machine where it fails at that or at `prepare`. */
  podmanIfItRuns(prepare: (podman: Podman) => Promise<unknown>): Promise<Podman | undefined>;
  /** One more step of the clean-up, which comes before those of everything made until now. */
  atEnd(step: () => Promise<unknown>): void;
}

/** `layoutOf` gives the OCI layout (`DIR:TAG`) to serve in place of the base image as it is. */
export async function setUp(
  prefix: string,
  layoutOf: (directory: string) => Promise<string> = async () => (await baseImageLayout()).layout,
): Promise<Bench> {
  // A reader who has seen enough (`| head`) ends the process otherwise, and nothing is taken away.
  process.stdout.on('error', () => {});
  await using untilReady = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), prefix));
  untilReady.defer(forgiven(() => rm(directory, { recursive: true, force: true })));
  const registry = await startLocalRegistry(join(directory, 'registry'));
  untilReady.defer(forgiven(registry.close));
  await registry.push(await layoutOf(directory), `library/${BASE_IMAGE}`);

  const cleanUp = untilReady.move();
  const image = `${registry.host}/library/${BASE_IMAGE}`;
  const atEnd = (step: () => Promise<unknown>) => cleanUp.defer(forgiven(step));
  const pullWithPodman = (podman: Podman) => podman.docker('pull', '--quiet', '--tls-verify=false', image);
  return {
    directory,
    registry,
    image,
    async darkroom(snapshot, config = {}) {
      const darkroom = await startDarkroom({
        config: { registries: { mirrors: { 'docker.io': [registry.url] } }, log: { level: 'warn' }, ...config },
        env: { DARKROOM_LOG_LEVEL: 'warn' },
      });
      atEnd(darkroom.destroy);
      await makeSnapshot(darkroom, snapshot, BASE_IMAGE);
      return darkroom;
    },
    async docker() {
      const docker = await startDocker();
      atEnd(docker.close);
      await docker.docker('pull', '--quiet', image);
      return docker;
    },
    async podman() {
      const podman = await startPodman();
      atEnd(podman.close);
      await pullWithPodman(podman);
      return podman;
    },
    async podmanIfItRuns(prepare) {
      const podman = await startPodman();
      try {
        await pullWithPodman(podman);
        await prepare(podman);
      } catch (error) {
        console.error(`podman does not run here: ${error instanceof Error ? error.message : error}`);
        await podman.close();
        return undefined;
      }
      atEnd(podman.close);
      return podman;
    },
    atEnd,
    [Symbol.asyncDispose]: () => cleanUp.disposeAsync(),
  };
}

/** What was measured holds, and the next step has to run, also when something could not be cleaned up. */
function forgiven(step: () => Promise<unknown>): () => Promise<void> {
  return async () => void (await step().catch((error: unknown) => console.error(error)));
}
