import { findProgram } from '../../../platform/find-program.ts';
import { ID_BASE, ID_COUNT } from '../../testing/sandbox-lab.ts';
import { tryGvisor } from './try-gvisor.ts';

/** A runsc that works on this machine (`DARKROOM_TEST_RUNSC` names one that is not on the PATH), or why there is none. */
export async function gvisorForTests(): Promise<{ program: string } | { missing: string }> {
  let program: string;
  try {
    program = findProgram(process.env.DARKROOM_TEST_RUNSC ?? 'runsc');
  } catch {
    return { missing: 'skipped: no runsc is installed' };
  }
  const trial = await tryGvisor(program, { idBase: ID_BASE, idCount: ID_COUNT });
  return trial.works ? { program } : { missing: `skipped: ${trial.version} does not work here: ${trial.reason}` };
}
