import { findSandbox } from './find.ts';
import type { SandboxContext, SandboxRow } from './types.ts';

/** Longest that a request is held for a change of state; clients then ask again by themselves. */
const HOLD_MS = 30_000;

/** The outcome of the change, or the sandbox as it is when the outcome takes too long; the change goes on by itself. */
export async function answerWithin(
  context: SandboxContext,
  row: Pick<SandboxRow, 'id' | 'organization_id'>,
  change: Promise<SandboxRow>,
): Promise<SandboxRow> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, HOLD_MS, undefined);
  });
  try {
    const settled = await Promise.race([change, late]);
    if (settled !== undefined) return settled;
    context.background(`change of sandbox ${row.id}`, change);
    return await findSandbox(context.db, row.organization_id, row.id);
  } finally {
    clearTimeout(timer);
  }
}
