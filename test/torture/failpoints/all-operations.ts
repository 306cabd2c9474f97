import { FAILPOINTS, type Failpoint } from '../../../packages/server/src/platform/failpoint-names.ts';
import { builds } from './areas/builds.ts';
import { captures } from './areas/captures.ts';
import { files } from './areas/files.ts';
import { garbage } from './areas/garbage.ts';
import { pulls } from './areas/pulls.ts';
import { recoveries } from './areas/recoveries.ts';
import { repairs } from './areas/repairs.ts';
import { sandboxes } from './areas/sandboxes.ts';
import { snapshots } from './areas/snapshots.ts';
import { uploads } from './areas/uploads.ts';
import { webhooks } from './areas/webhooks.ts';
import type { Chosen, Operation, Operations } from './operation.ts';

const ALL: Operations = {
  ...pulls,
  ...builds,
  ...captures,
  ...sandboxes,
  ...snapshots,
  ...uploads,
  ...webhooks,
  ...recoveries,
  ...files,
  ...garbage,
  ...repairs,
};

/** What passes the failpoint; undefined where nobody has said. */
export function operationAt(point: Failpoint): Chosen | undefined {
  const found: Operation | Chosen | undefined = ALL[point];
  return typeof found === 'function' ? { operation: found, pass: 1 } : found;
}

export const UNTOLD = FAILPOINTS.filter((point) => operationAt(point) === undefined);
