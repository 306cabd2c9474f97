import { FAILPOINTS, type Failpoint } from '../../../packages/server/src/platform/failpoint-names.ts';

/** Those that every run goes through: the moments of each area at which most could go wrong. */
const FEW: readonly Failpoint[] = [
  'pull.blob-read',
  'seal.disk-named',
  'repair.set-aside',
  'build.durable',
  'capture.frozen',
  'flatten.synced',
  'fork.rows-written',
  'start.container-run',
  'remove.files-trashed',
  'gc.unindexed',
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
