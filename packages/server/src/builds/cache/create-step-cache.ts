import type { Kysely } from 'kysely';
import { LRUCache } from 'lru-cache';
import { readBootId } from '../../platform/boot-id.ts';
import type { Database } from '../../platform/db/schema.ts';
import { failpoint } from '../../platform/failpoints.ts';
import type { LayerKeeper } from '../../snapshots/layer-keeper.ts';
import type { CacheUse } from '../types.ts';
import { digestOfText, fingerprintsOf, keyOf } from './cache-key.ts';
import { createCacheRows, type RowName } from './cache-rows.ts';
import { olderThan, whatChanged } from './miss-reason.ts';
import type { StepCache, StepEvent, StepListener, StepRequest, StepResult } from './step-cache.ts';
import { createStepRuns, isFailureOfAll } from './step-runs.ts';
import { createUseNotes } from './use-notes.ts';

export interface StepCacheDeps {
  db: Kysely<Database>;
  /** Layers of results are needed from here on: callers of `obtain` keep a hold until a row names them. */
  layers: LayerKeeper;
  runnerId: string;
  log: { warn(details: object, message: string): void };
  /** Whether the files of a layer are known to be damaged: its step runs again. */
  isDamaged?: ((layerId: string) => boolean) | undefined;
  /** For tests of a power cut. */
  bootId?: string;
}

/** The step cache of one server. It writes notes of use in the background, and waits for its runs when it is closed. */
export interface OpenStepCache extends StepCache {
  /** Writes down which results were used, so that what is used last goes last. */
  noteUses(): Promise<void>;
  close(): Promise<void>;
}

type Execute = Parameters<StepCache['obtain']>[1];
type Found = { result: StepResult } | { why: string | undefined };

const REMEMBERED = 20_000;
/** How ids of layers begin that were made here; others were on disk before anyone heard of them. */
const BUILT = 'built:';
/** Told to a build that waited for another's run, before it begins its own. */
const AGAIN = 'The build that carried this step out did not finish it; it begins again.';

export function createStepCache({
  db,
  layers,
  runnerId,
  log,
  isDamaged,
  bootId = readBootId(),
}: StepCacheDeps): OpenStepCache {
  const rows = createCacheRows(db, runnerId);
  const uses = createUseNotes(rows, log);
  const runs = createStepRuns();
  /** Built layers that are known to be on disk. One that is forgotten here is synced once more. */
  const durable = new LRUCache<string, true>({ max: REMEMBERED });

  /** The result that may be used, or why there is none; without a reason nothing is recorded. */
  async function look(request: StepRequest, name: RowName): Promise<Found> {
    const row = await rows.find(name);
    const isOwn = row?.buildId === request.buildId;
    if (request.noCache && !isOwn) return { why: 'noCache was asked for' };
    if (row === undefined) return { why: undefined };
    if (row.bootId !== undefined && row.bootId !== bootId) {
      await rows.remove(name, row.layer);
      return { why: 'the machine went down before it was on disk' };
    }
    const { maxAgeSeconds } = request;
    if (maxAgeSeconds !== undefined && row.ageSeconds > maxAgeSeconds && !isOwn) {
      return { why: olderThan(maxAgeSeconds) };
    }
    const layer = row.layer === null ? undefined : await layers.get(row.layer);
    if (row.layer !== null && layer === undefined) {
      await rows.remove(name, row.layer);
      return { why: 'its layer is no longer there' };
    }
    if (layer !== undefined && isDamaged?.(layer.diffId) === true) {
      await rows.remove(name, row.layer);
      return { why: 'the files of its layer are damaged' };
    }
    if (layer !== undefined && row.bootId === undefined) durable.set(layer.diffId, true);
    if (!row.isUseNoted) uses.add(name);
    return { result: { layer } };
  }

  async function record(request: StepRequest, name: RowName, { layer }: StepResult): Promise<void> {
    try {
      await rows.record({
        ...name,
        layer: layer?.diffId,
        sizeBytes: layer?.sizeBytes ?? 0,
        fingerprints: fingerprintsOf(request.parts),
        textDigest: digestOfText(request.text),
        buildId: request.buildId,
        bootId: layer === undefined ? undefined : bootId,
      });
    } catch (error) {
      // The build has what it wanted, and the next one runs the step again.
      log.warn({ err: error, buildId: request.buildId }, 'the result of a step could not be recorded');
    }
  }

  async function carryOut(
    request: StepRequest,
    name: RowName,
    execute: Execute,
    miss: { why: string | undefined; tell: (why: string) => void },
    signal: AbortSignal,
    report: (event: StepEvent) => void,
  ): Promise<StepResult> {
    // The build that began may end before the run does.
    using _hold = layers.hold();
    miss.tell(miss.why ?? (await explain(request)));
    signal.throwIfAborted();
    const result = await execute(signal, report);
    await failpoint('build.step-run');
    await record(request, name, result);
    await failpoint('build.step-recorded');
    return result;
  }

  async function explain({ organizationId, parts, text }: StepRequest): Promise<string> {
    return whatChanged(fingerprintsOf(parts), await rows.withText(organizationId, digestOfText(text)));
  }

  return {
    async obtain(request, execute, listener, signal) {
      const name = { organizationId: request.organizationId, key: keyOf(request.parts) };
      const runKey = `${name.organizationId} ${name.key.toString('hex')}`;
      const tellUse = onlyOnce(listener);
      // What began before noCache was asked for would not be new.
      const findRun = () => runs.of(runKey).find((run) => !request.noCache || run.buildId === request.buildId);
      for (;;) {
        signal.throwIfAborted();
        const other = findRun();
        if (other !== undefined) {
          tellUse({ kind: 'shared' });
          try {
            const result = await other.follow(listener.onEvent, signal);
            // Needed by this build too from here on, which may have begun when the layer was there already.
            if (result.layer !== undefined) await layers.get(result.layer.diffId);
            return result;
          } catch (error) {
            if (signal.aborted || (isFailureOfAll(error) && request.hasSecrets !== true)) throw error;
            listener.onEvent({ kind: 'note', text: AGAIN });
            continue;
          }
        }
        const endedBefore = runs.ended;
        const found = await look(request, name);
        signal.throwIfAborted();
        if ('result' in found) {
          tellUse({ kind: 'hit' });
          return found.result;
        }
        // A run may have begun, or begun and ended, while the database was asked.
        if (endedBefore !== runs.ended || findRun() !== undefined) continue;
        const miss = { why: found.why, tell: (why: string) => tellUse({ kind: 'miss', why }) };
        const run = runs.begin(runKey, request.buildId, (shared, report) =>
          carryOut(request, name, execute, miss, shared, report),
        );
        return await run.follow(listener.onEvent, signal);
      }
    },
    unsynced: (layerIds) => layerIds.filter((id) => id.startsWith(BUILT) && !durable.has(id)),
    async markDurable(layerIds) {
      await rows.markDurable(layerIds);
      for (const id of layerIds) durable.set(id, true);
    },
    noteUses: () => uses.write(),
    async close() {
      await runs.settled();
      await uses.close();
    },
  };
}

function onlyOnce({ onUse }: StepListener): (use: CacheUse) => void {
  let told = false;
  return (use) => {
    if (told) return;
    told = true;
    onUse(use);
  };
}
