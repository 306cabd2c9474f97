import { failpoint } from '../platform/failpoints.ts';
import { type Borrowed, findBorrowed, giveOwnIdentity } from './own-identity.ts';
import type { SandboxProfile } from './profile.ts';
import type { ProfileSource } from './profiles.ts';
import type { SandboxContext } from './types.ts';

/** What was found in the files of the first of several sandboxes that have the same ones, and ran nothing yet: true for each of them. */
export interface SameFiles {
  profile?: Promise<SandboxProfile>;
  borrowed?: Promise<Borrowed>;
}

/**
 * Before anything runs in a sandbox that has files from before: who runs in it and where; and a fork that has not got an identity of its own
 * yet gets it, also when an earlier start failed in between.
 */
export async function settleFiles(
  context: Pick<SandboxContext, 'runtime' | 'profiles'>,
  source: ProfileSource,
  same: SameFiles,
): Promise<SandboxProfile> {
  const { runtime, profiles } = context;
  same.profile ??= profiles.ofUsed(source);
  const [profile] = await Promise.all([same.profile, becomeOther(runtime, source.id, same)]);
  return profile;
}

async function becomeOther(runtime: SandboxContext['runtime'], id: string, same: SameFiles): Promise<void> {
  if (!runtime.isUnsettledFork(id)) return;
  same.borrowed ??= findBorrowed(runtime, id);
  await giveOwnIdentity(runtime, id, await same.borrowed);
  await runtime.settleFork(id);
  await failpoint('fork.identity-given');
}
