import type { Sandboxes, SandboxRow } from '../../../sandboxes/index.ts';
import type { AuthContext } from '../../../tenancy/auth-context.ts';
import type { BuildInfoRow } from '../build-info.ts';
import { callerOf } from './requests.ts';

/** What the sandbox was built from; undefined for one of a snapshot. */
export async function buildInfoOf(
  { sandboxes }: { sandboxes: Pick<Sandboxes, 'build'> },
  auth: AuthContext,
  row: SandboxRow,
): Promise<BuildInfoRow | undefined> {
  return row.build_id === null ? undefined : sandboxes.build(callerOf(auth), row.id);
}
