import { createHash, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createLayerHealth } from '../../../images/health/layer-health.ts';
import { createLayerStore, type OpenLayerStore } from '../../../images/layer-store.ts';
import { buildTar } from '../../../images/tar/testing/build-tar.ts';
import type { ImageConfig } from '../../../images/types.ts';
import { run } from '../../../platform/process.ts';
import { ID_BASE, ID_COUNT, MIB, openLab, type SandboxLab } from '../../../runtime/testing/sandbox-lab.ts';
import { createLayerKeeper, type LayerKeeper } from '../../../snapshots/layer-keeper.ts';
import { fillWithBusybox, shiftOwners } from '../../../test-support/root-file-system.ts';
import { addOrganization } from '../../../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../../../test-support/test-database.ts';
import type { BaseImage, BaseImages } from '../../base-images.ts';
import { createStepCache } from '../../cache/create-step-cache.ts';
import { openContextTrees } from '../../contexts/context-trees.ts';
import { createLocalContextStore } from '../../contexts/local-context-store.ts';
import { readPlatform } from '../../dockerfile/platform.ts';
import { BuildFailure } from '../../failure.ts';
import { createBuildFiles } from '../../files/build-files.ts';
import { createRemoteFetcher } from '../../files/fetch-remote.ts';
import type { BuildDefinition, BuildEngine, BuildLimits, BuiltImage } from '../../types.ts';
import { createBuildEngine } from '../build-engine.ts';
import type { BuildEngineDeps } from '../engine-deps.ts';
import { EMPTY_CONFIG } from '../image-config.ts';
import { type BuildEvents, recordEvents } from './record-events.ts';

/** `FROM base` in the lab: busybox, `/etc/passwd` with root and app (1000). */
export const BASE = 'base';

const LIMITS: BuildLimits = {
  cpu: 2,
  memoryBytes: 512 * MIB,
  pids: 256,
  diskBytes: 1024 * MIB,
  stepSeconds: 120,
  maxBytes: 2048 * MIB,
};

type ContextFiles = Readonly<Record<string, string>>;

export interface LabBuild extends Partial<Omit<BuildDefinition, 'dockerfile' | 'limits' | 'buildArgs' | 'secrets'>> {
  /** Files by path; a path that ends in a slash is a directory. Or the bytes of a tar. */
  context?: ContextFiles | Buffer;
  limits?: Partial<BuildLimits>;
  buildArgs?: Readonly<Record<string, string>>;
  secrets?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
  /** Told of everything while it runs. */
  onEvents?: (events: BuildEvents) => void;
}

export interface LabImage {
  image: BuiltImage;
  events: BuildEvents;
  /** The output of a shell script over the built layers, as root on the host: its working directory is their merged root. */
  read(script: string): Promise<string>;
}

/** A build engine on this machine with everything that it works with in a server, in a state directory of its own. */
export interface BuildLab {
  readonly sandboxes: SandboxLab;
  readonly layers: LayerKeeper;
  /** What is behind the keeper. */
  readonly store: OpenLayerStore;
  readonly database: TestDatabase;
  readonly engine: BuildEngine;
  readonly poolRoot: string;
  /** Of builds that name no other. */
  readonly organizationId: string;
  /** What is logged. */
  readonly warnings: string[];
  build(dockerfile: string, options?: LabBuild): Promise<LabImage>;
  /** What the build fails with, and what it said until then. */
  fail(dockerfile: string, options?: LabBuild): Promise<{ failure: BuildFailure; events: BuildEvents }>;
  /** `FROM name` means this from now on. `fill` gets an empty directory, whose owners are shifted afterwards unless it says `shifted`. */
  addImage(name: string, fill: (directory: string) => Promise<unknown>, config?: Partial<ImageConfig>): Promise<void>;
  addOrganization(): Promise<string>;
  /** Layers that were never finished, and temporary directories: none when no build runs. */
  leftovers(): Promise<string[]>;
  close(): Promise<void>;
}

export interface BuildLabOptions {
  /** A pool with reflinks of this size; without it the pool is on the file system of temporary files. */
  imageBytes?: number;
  deps?: Partial<BuildEngineDeps>;
  settings?: Partial<BuildEngineDeps['settings']>;
  isDamaged?: (layerId: string) => boolean;
}

let builds = 0;

export async function createBuildLab(options: BuildLabOptions = {}): Promise<BuildLab> {
  const database = await startTestDatabase();
  const sandboxes = await openLab(undefined, { imageBytes: options.imageBytes ?? 4096 * MIB });
  const { poolRoot } = sandboxes;
  const warnings: string[] = [];
  const log = {
    info() {},
    warn: (details: object, message: string) => void warnings.push(`${message} ${JSON.stringify(details)}`),
  };
  const layerStore = await createLayerStore(join(poolRoot, 'layer-store'), { graceMs: 0 });
  const health = await createLayerHealth({
    store: layerStore,
    fetchAgain: async () => false,
    usersOf: async () => [],
    log,
  });
  const layers = createLayerKeeper(health.watch(layerStore));
  const files = createBuildFiles({ idBase: ID_BASE, idCount: ID_COUNT });
  const fetcher = createRemoteFetcher({ idBase: ID_BASE, allowInternal: true, caFiles: [] });
  const store = await createLocalContextStore(join(poolRoot, 'contexts'));
  const contexts = await openContextTrees({
    directory: join(poolRoot, 'context-trees'),
    store,
    files,
    maxBytes: 1024 * MIB,
  });
  const cache = createStepCache({
    db: database.db,
    layers,
    runnerId: 'here',
    log,
    isDamaged: options.isDamaged ?? health.isDamaged,
  });
  const images = new Map<string, BaseImage>();
  const baseImages: BaseImages = {
    async obtain({ reference }) {
      const image = images.get(reference);
      if (image !== undefined) return image;
      throw new BuildFailure(`there is no image ${reference}`, {
        class: 'user',
        code: 'image_unavailable',
        retryable: false,
      });
    },
  };
  // As clients do: what is there is not uploaded again, under builds that read it.
  const uploads = new Map<string, Promise<unknown>>();
  const organizationId = await addOrganization(database.db);
  const engine = createBuildEngine({
    steps: sandboxes.runtime.steps,
    layers,
    health,
    cache,
    baseImages,
    files,
    fetcher,
    contexts,
    log,
    ...options.deps,
    settings: {
      poolRoot,
      idBase: ID_BASE,
      idCount: ID_COUNT,
      platform: readPlatform(process.arch === 'arm64' ? 'arm64' : 'amd64') ?? { os: 'linux', architecture: 'amd64' },
      stepConcurrency: 4,
      cacheMountBytes: 512 * MIB,
      ...options.settings,
    },
  });

  async function definitionOf(dockerfile: string, build: LabBuild): Promise<BuildDefinition> {
    const owner = build.organizationId ?? organizationId;
    const hashes = [...(build.contexts ?? [])];
    if (build.context !== undefined) {
      const tar = Buffer.isBuffer(build.context) ? build.context : tarOf(build.context);
      const hash = createHash('sha256').update(tar).digest('hex');
      const name = `${owner} ${hash}`;
      const upload =
        uploads.get(name) ??
        store.put({ organizationId: owner, hash }, { stream: Readable.from([tar]), size: tar.length });
      uploads.set(name, upload);
      await upload;
      hashes.push(hash);
    }
    builds += 1;
    const { target, noCache = false, cacheMaxAgeSeconds } = build;
    return {
      id: build.id ?? `build-${builds}`,
      organizationId: owner,
      dockerfile,
      contexts: hashes,
      target,
      buildArgs: new Map(Object.entries(build.buildArgs ?? {})),
      secrets: new Map(Object.entries(build.secrets ?? {})),
      noCache,
      cacheMaxAgeSeconds,
      limits: { ...LIMITS, ...build.limits },
    };
  }

  async function read(image: BuiltImage, script: string): Promise<string> {
    const paths = await Promise.all(image.layers.map(async (id) => (await layers.get(id))?.path ?? `missing ${id}`));
    const tree = await sandboxes.runtime.steps.openTree(paths);
    try {
      const cwd = `/proc/${process.pid}/fd/${tree.directory}`;
      return (await run('sh', ['-c', `cd ${cwd}/. && ${script}`], { timeoutMs: 60_000 })).stdout;
    } finally {
      tree.close();
    }
  }

  const lab: BuildLab = {
    sandboxes,
    layers,
    store: layerStore,
    database,
    engine,
    poolRoot,
    organizationId,
    warnings,
    async build(dockerfile, build = {}) {
      const events = recordEvents();
      build.onEvents?.(events);
      const definition = await definitionOf(dockerfile, build);
      const image = await engine.build(definition, events.observer, build.signal ?? new AbortController().signal);
      return { image, events, read: (script) => read(image, script) };
    },
    async fail(dockerfile, build = {}) {
      const events = recordEvents();
      build.onEvents?.(events);
      const definition = await definitionOf(dockerfile, build);
      try {
        await engine.build(definition, events.observer, build.signal ?? new AbortController().signal);
      } catch (error) {
        if (error instanceof BuildFailure) return { failure: error, events };
        throw error;
      }
      throw new Error('the build did not fail');
    },
    async addImage(name, fill, config = {}) {
      const diffId = `sha256:${createHash('sha256').update(randomUUID()).digest('hex')}`;
      const layer = await layers.add(
        diffId,
        async (directory) => {
          if ((await fill(directory)) !== 'shifted') await shift(directory);
          return { sizeBytes: 1_000_000 };
        },
        new AbortController().signal,
      );
      const { sizeBytes } = layer;
      images.set(name, {
        resolved: `${name}@${diffId}`,
        layers: [diffId],
        config: { ...EMPTY_CONFIG, ...config },
        sizeBytes,
      });
    },
    addOrganization: () => addOrganization(database.db, `other ${randomUUID()}`),
    async leftovers() {
      const { stdout } = await run(
        'sh',
        [
          '-c',
          `ls -d ${poolRoot}/layer-store/tmp/* ${poolRoot}/build-tmp/* ${poolRoot}/build-mounts/tmp-* 2>/dev/null; true`,
        ],
        { timeoutMs: 10_000 },
      );
      return stdout.split('\n').filter((line) => line !== '');
    },
    async close() {
      await engine.close();
      await cache.close();
      await health.close();
      await files.close();
      await fetcher.close();
      await sandboxes.close();
      await database.stop();
    },
  };
  await lab.addImage(BASE, fillWithBusybox, { env: ['PATH=/bin:/usr/bin'], cmd: ['/bin/sh'] });
  return lab;
}

async function shift(directory: string): Promise<void> {
  await mkdir(join(directory, 'home/app'), { recursive: true });
  await shiftOwners(directory, ID_BASE);
}

function tarOf(entries: ContextFiles): Buffer {
  return buildTar(
    Object.entries(entries).map(([name, text]) =>
      name.endsWith('/') ? { name, flag: '5', mode: 0o755 } : { name, mode: 0o644, data: Buffer.from(text) },
    ),
  );
}
