import { invalidRequest } from '../../platform/errors.ts';
import { sandboxEnvironment } from '../environment.ts';
import { findRunning } from '../find.ts';
import type { SandboxProfile } from '../profile.ts';
import type { Caller, SandboxContext, SandboxRow } from '../types.ts';

/** A running sandbox that somebody works in. */
export interface Entered {
  row: SandboxRow;
  profile: SandboxProfile;
  /** What every process of its user gets. */
  env: Record<string, string>;
}

/** Finds it and counts as activity. Raises `not_found`, and `invalid_request` when it does not run. */
export async function enterSandbox(context: SandboxContext, caller: Caller, id: string): Promise<Entered> {
  const row = await findRunning(context.db, caller.organizationId, id);
  context.activity.touch(row.id);
  const profile = await context.profiles.of(row);
  const { home, name } = profile.user;
  return { row, profile, env: { HOME: home, USER: name, LOGNAME: name, ...sandboxEnvironment(row) } };
}

export function shellOf(profile: SandboxProfile): string {
  if (profile.shell !== undefined) return profile.shell;
  throw invalidRequest('The image has no shell (/bin/bash or /bin/sh), so no command can be run in this sandbox');
}
