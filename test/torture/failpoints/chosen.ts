import { FAILPOINTS, type Failpoint } from '../../../packages/server/src/platform/failpoint-names.ts';

/** Those that every run goes through: the moments of each area at which most could go wrong. */
const FEW: readonly Failpoint[] = [
  'pull.blob-read',
  'seal.named',
  'seal.made-named',
  'seal.disk-named',
  'repair.set-aside',
  'build.step-run',
  'build.durable',
  'capture.frozen',
  'capture.layer-published',
  'flatten.synced',
  'fork.one-placed',
  'fork.rows-written',
  'start.container-run',
  'stop.killed',
  'pause.frozen',
  'resize.applied',
  'network.row-written',
  'remove.files-trashed',
  'delete.row-written',
  'activate.written',
  'gc.unindexed',
  'job.done',
  'move.written',
  'webhook.sent',
  'upload.renamed',
  'recover.one-sandbox',
];

/** `all`, nothing for a few, or beginnings of names with commas between them. */
export function chosenPoints(wanted: string | undefined): readonly Failpoint[] {
  if (wanted === undefined || wanted === '') return FEW;
  if (wanted === 'all') return FAILPOINTS;
  const beginnings = wanted.split(',');
  return FAILPOINTS.filter((point) => beginnings.some((beginning) => point.startsWith(beginning)));
}
