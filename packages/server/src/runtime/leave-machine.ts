import { rm } from 'node:fs/promises';
import type { Cgroups } from './cgroups.ts';
import { readMounts } from './mount-info.ts';

/** Takes away what describes running containers, when none runs. The next start makes it again. */
export async function leaveMachine(runDir: string, cgroups: Pick<Cgroups, 'removeParent'>): Promise<void> {
  await cgroups.removeParent();
  // What is mounted there is the pool among others: its files must not be taken for ours.
  const isMounted = (await readMounts()).some(({ target }) => target === runDir || target.startsWith(`${runDir}/`));
  if (!isMounted) await rm(runDir, { recursive: true, force: true });
}
