import { findProgram } from '../platform/find-program.ts';
import { tryGvisor } from './container/gvisor/try-gvisor.ts';
import { ok, type ProbeResult, warn } from './probe-check.ts';
import type { IdRange } from './probe-shifted.ts';

const ADVICE = 'Nothing needs it: sandboxes run by crun. docs/security.md says what gVisor needs.';

/** Whether snapshots may ask for gVisor. */
export async function probeGvisor({ idBase, idCount, gvisor }: IdRange & { gvisor: string }): Promise<ProbeResult> {
  if (gvisor === 'off') return ok('turned off');
  let program: string;
  try {
    program = findProgram(gvisor === 'auto' ? 'runsc' : gvisor);
  } catch {
    return gvisor === 'auto' ? ok('not installed, and not needed') : warn(`${gvisor} is not installed`, ADVICE);
  }
  const trial = await tryGvisor(program, { idBase, idCount });
  if (!trial.works) return warn(`${trial.version} does not work here: ${trial.reason}`, ADVICE);
  return ok(`${trial.version} runs containers here; snapshots may ask for sandboxClass gvisor`);
}
