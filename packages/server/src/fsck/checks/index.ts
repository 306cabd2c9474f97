import type { Check } from '../types.ts';
import { accesses } from './accesses.ts';
import { buildLogs } from './build-logs.ts';
import { builds } from './builds.ts';
import { cacheRows } from './cache-rows.ts';
import { containers } from './containers.ts';
import { contexts } from './contexts.ts';
import { damagedLayers } from './damaged-layers.ts';
import { jobs } from './jobs.ts';
import { layerRecords } from './layer-records.ts';
import { layerSizes } from './layer-sizes.ts';
import { leases } from './leases.ts';
import { missingLayers } from './missing-layers.ts';
import { orphanLayers } from './orphan-layers.ts';
import { sandboxFiles } from './sandbox-files.ts';
import { setAsideLayers } from './set-aside-layers.ts';
import { snapshotSizes } from './snapshot-sizes.ts';
import { stateCounts } from './state-counts.ts';
import { states } from './states.ts';
import { temporaryFiles } from './temporary-files.ts';

/** In this order: what a repair changes is seen by the checks behind it. */
export const CHECKS: readonly Check[] = [
  states,
  leases,
  builds,
  jobs,
  layerRecords,
  missingLayers,
  damagedLayers,
  cacheRows,
  layerSizes,
  snapshotSizes,
  sandboxFiles,
  containers,
  accesses,
  contexts,
  buildLogs,
  orphanLayers,
  setAsideLayers,
  temporaryFiles,
  // Last, because repairs change states.
  stateCounts,
];
