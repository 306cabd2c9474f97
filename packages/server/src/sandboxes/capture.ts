import type { SnapshotRow } from '../lifecycle/move.ts';
import { conflict, invalidRequest } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { beginCapture, finishCapture } from '../snapshots/capture.ts';
import { changeInProgress, findLiving } from './find.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

export interface CaptureRequest {
  name: string;
  includeMemory: boolean;
}

export interface Captured {
  sandbox: SandboxRow;
  snapshot: SnapshotRow;
}

/**
 * Makes a snapshot of what a sandbox has in its files now. It goes on, and can be used meanwhile. Resolves when the snapshot is
 * `active`, and raises when it could not be made, also when that takes long: nobody who was answered has to look whether it is there.
 */
export async function captureSandbox(
  context: SandboxContext,
  caller: Caller,
  idOrName: string,
  request: CaptureRequest,
): Promise<Captured> {
  const source = await findCopyable(context, caller, idOrName, 'captured');
  if (request.includeMemory) {
    throw invalidRequest('The memory of a sandbox can be captured for virtual machines only');
  }
  const deps = { ...context, instanceId: context.settings.instanceId };
  // Most of a capture is waiting for the disk, which need not wait for the row.
  context.background(
    `write back the disk of sandbox ${source.id}`,
    context.runtime.writeBack(source.id).catch(() => {}),
  );
  const row = await beginCapture(deps, caller, source, request.name);
  await failpoint('capture.row-written');
  const work = finishCapture(deps, caller, source, row);
  // The end of the server waits for it, whether the client does or not.
  context.background(
    `capture of sandbox ${source.id}`,
    work.catch(() => {}),
  );
  const snapshot = await work;
  return { sandbox: await findLiving(context.db, caller.organizationId, source.id).catch(() => source), snapshot };
}

/** One whose files stand as its own, and on sound ones: it runs, or rests. */
export async function findCopyable(
  context: Pick<SandboxContext, 'db' | 'isDamaged'>,
  caller: Caller,
  idOrName: string,
  what: 'captured' | 'forked',
): Promise<SandboxRow> {
  const row = await findLiving(context.db, caller.organizationId, idOrName);
  if (row.state === 'started' || row.state === 'stopped' || row.state === 'paused') {
    // A copy would look as good as any other.
    if (row.layers.some((diffId) => context.isDamaged?.(diffId))) throw onDamagedLayer(row, what);
    return row;
  }
  if (row.state === 'error') {
    throw invalidRequest(`Sandbox cannot be ${what}: its state is ${row.state}`, { hint: 'Start it first.' });
  }
  throw changeInProgress();
}

const onDamagedLayer = ({ name }: SandboxRow, what: string) =>
  conflict(`Sandbox ${name} cannot be ${what}: a layer below its files is damaged`, {
    hint: 'darkroom fsck says which, and --repair what can be done. Its files can still be read.',
  });
