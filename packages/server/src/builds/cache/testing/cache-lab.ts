import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLayerStore } from '../../../images/layer-store.ts';
import { createLayerKeeper, type LayerKeeper } from '../../../snapshots/layer-keeper.ts';
import { addOrganization } from '../../../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../../../test-support/test-database.ts';
import type { CacheUse } from '../../types.ts';
import { createStepCache, type OpenStepCache, type StepCacheDeps } from '../create-step-cache.ts';
import type { StepCache, StepEvent, StepRequest, StepResult } from '../step-cache.ts';

export type Execute = Parameters<StepCache['obtain']>[1];

export interface Asked {
  uses: CacheUse[];
  events: StepEvent[];
  result: Promise<StepResult>;
  abort(reason?: unknown): void;
}

export interface CacheLab {
  readonly database: TestDatabase;
  readonly keeper: LayerKeeper;
  readonly organizationId: string;
  readonly warnings: string[];
  /** A cache as another process, or the same one after a boot, would open it. */
  open(deps?: Partial<Pick<StepCacheDeps, 'bootId' | 'layers'>>): OpenStepCache;
  ask(cache: StepCache, request: Partial<StepRequest>, execute: Execute): Asked;
  /** Makes a layer of so many bytes. */
  makes(bytes?: number): Execute;
  reset(): Promise<void>;
  stop(): Promise<void>;
}

/** Step caches over a real database and a real store of layers. */
export async function startCacheLab(): Promise<CacheLab> {
  const database = await startTestDatabase();
  const warnings: string[] = [];
  const log = { warn: (_details: object, message: string) => void warnings.push(message), info() {} };
  const opened: OpenStepCache[] = [];
  let root = '';
  let keeper: LayerKeeper | undefined;
  let organizationId = '';

  const theKeeper = () => {
    if (keeper === undefined) throw new Error('the lab was not reset before its first use');
    return keeper;
  };
  const closeAll = () => Promise.all(opened.splice(0).map((cache) => cache.close()));
  const lab: CacheLab = {
    database,
    warnings,
    get keeper() {
      return theKeeper();
    },
    get organizationId() {
      return organizationId;
    },
    open(deps = {}) {
      const cache = createStepCache({ db: database.db, layers: theKeeper(), runnerId: 'here', log, ...deps });
      opened.push(cache);
      return cache;
    },
    ask(cache, request, execute) {
      const controller = new AbortController();
      const uses: CacheUse[] = [];
      const events: StepEvent[] = [];
      const full = {
        organizationId,
        buildId: 'one',
        parts: {},
        text: 'RUN it',
        noCache: false,
        maxAgeSeconds: undefined,
      };
      const listener = { onUse: (use: CacheUse) => uses.push(use), onEvent: (event: StepEvent) => events.push(event) };
      const result = cache.obtain({ ...full, ...request }, execute, listener, controller.signal);
      // Whoever asks looks at it later.
      result.catch(() => {});
      return { uses, events, result, abort: (reason) => controller.abort(reason) };
    },
    makes:
      (bytes = 1) =>
      async () => ({
        layer: await theKeeper().make(async (directory) => {
          await writeFile(join(directory, 'file'), 'x');
          return { sizeBytes: bytes };
        }),
      }),
    async reset() {
      await closeAll();
      await database.reset();
      warnings.length = 0;
      if (root !== '') await rm(root, { recursive: true, force: true });
      root = await mkdtemp(join(tmpdir(), 'darkroom-cache-'));
      keeper = createLayerKeeper(await createLayerStore(root, { graceMs: 0 }));
      organizationId = await addOrganization(database.db);
    },
    async stop() {
      await closeAll();
      await database.stop();
      if (root !== '') await rm(root, { recursive: true, force: true });
    },
  };
  return lab;
}
