import { DarkroomError, invalidRequest } from '../../../platform/errors.ts';
import { findProgram } from '../../../platform/find-program.ts';
import type { RuntimeLog } from '../container-host.ts';
import { tryGvisor } from './try-gvisor.ts';

export interface GvisorSettings {
  /** `auto`, `off`, or the path of runsc. */
  gvisor?: string | undefined;
  idBase: number;
  idCount: number;
}

/** Raises `invalid_request` with the reason why gVisor cannot run containers here. What works is tried once. */
export function gvisorCheck(settings: GvisorSettings, log: Pick<RuntimeLog, 'info'>): () => Promise<void> {
  let trial: Promise<void> | undefined;

  async function attempt(): Promise<void> {
    const program = gvisorProgram(settings.gvisor);
    const result = await tryGvisor(program, settings);
    if (!result.works) throw notHere(`${result.version} does not work here: ${result.reason}`);
    log.info({ program, version: result.version }, 'sandboxes can run under gVisor');
  }

  return () => {
    trial ??= attempt().catch((error: unknown) => {
      // It may be put right.
      trial = undefined;
      throw error;
    });
    return trial;
  };
}

/** Raises `invalid_request` when there is none, or it is turned off. */
export function gvisorProgram(setting = 'off'): string {
  if (setting === 'off') throw notHere('it is turned off (runtime.gvisor)');
  try {
    return findProgram(setting === 'auto' ? 'runsc' : setting);
  } catch (cause) {
    if (!(cause instanceof DarkroomError)) throw cause;
    throw notHere(`${cause.message}`, cause);
  }
}

function notHere(reason: string, cause?: unknown): DarkroomError {
  return invalidRequest(`This server runs no sandboxes under gVisor: ${reason}`, {
    hint: "Leave out sandboxClass, or ask for 'container'. docs/security.md says what gVisor needs.",
    cause,
  });
}
