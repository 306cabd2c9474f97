import type { SandboxContext } from './types.ts';

/** For people who see a command's output; it ends there without any other word. */
export const OUT_OF_MEMORY_NOTE =
  '\n[darkroom] A process was killed: the sandbox reached its memory limit. Use less, or resize the sandbox.\n';

/** Whether the kernel has killed processes of a sandbox at its memory limit since the last look; an event says so. */
export async function lookForOomKills(
  context: Pick<SandboxContext, 'db' | 'runtime' | 'log' | 'onOomKills'>,
  sandbox: { id: string; organizationId: string },
): Promise<boolean> {
  const kills = await context.runtime.newOomKills(sandbox.id);
  if (kills === 0) return false;
  context.log.warn({ sandboxId: sandbox.id, kills }, 'processes of a sandbox were killed at its memory limit');
  context.onOomKills?.(kills);
  await context.db
    .insertInto('events')
    .values({
      organization_id: sandbox.organizationId,
      subject_type: 'sandbox',
      subject_id: sandbox.id,
      from_state: 'started',
      to_state: 'started',
      actor: 'system',
      reason: `Out of memory: ${kills === 1 ? 'a process was' : `${kills} processes were`} killed`,
    })
    .execute();
  return true;
}
