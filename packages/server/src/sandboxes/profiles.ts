import { LRUCache } from 'lru-cache';
import type { SandboxRuntime } from '../runtime/types.ts';
import { loadProfile, type SandboxProfile } from './profile.ts';
import type { SandboxRow } from './types.ts';

/** What a profile is looked up by. */
export type ProfileSource = Pick<SandboxRow, 'id' | 'user_name' | 'image' | 'layers'>;

/** Who runs in a sandbox and where, asked of its files once for each run: what a user changes there counts from the next start. */
export interface Profiles {
  /**
   * Of a container that has just been made, before anything ran in it: its files are those of its layers, so what was found for
   * the same layers before is true for it too.
   */
  ofFresh(source: ProfileSource): Promise<SandboxProfile>;
  /** Of a container whose files may be its own. */
  ofUsed(source: ProfileSource): Promise<SandboxProfile>;
  /** Notes what was found for the run that begins with this row. */
  begin(row: SandboxRow, profile: SandboxProfile): void;
  /** Of the run that the row is in. */
  of(row: SandboxRow): Promise<SandboxProfile>;
}

const MAX_RUNS = 10_000;
const MAX_SNAPSHOTS = 1_000;

export function createProfiles(runtime: SandboxRuntime): Profiles {
  const fresh = new LRUCache<string, SandboxProfile>({ max: MAX_SNAPSHOTS });
  const runs = new LRUCache<string, { beganAt: number; profile: Promise<SandboxProfile> }>({ max: MAX_RUNS });

  return {
    async ofFresh(source) {
      const key = JSON.stringify([source.layers, source.user_name, source.image]);
      const known = fresh.get(key);
      if (known !== undefined) return known;
      const profile = await loadProfile(runtime, source);
      fresh.set(key, profile);
      return profile;
    },
    ofUsed: (source) => loadProfile(runtime, source),
    begin(row, profile) {
      runs.set(row.id, { beganAt: row.state_entered_at.getTime(), profile: Promise.resolve(profile) });
    },
    of(row) {
      const beganAt = row.state_entered_at.getTime();
      const known = runs.get(row.id);
      if (known?.beganAt === beganAt) return known.profile;
      const profile = loadProfile(runtime, row);
      runs.set(row.id, { beganAt, profile });
      profile.catch(() => runs.delete(row.id));
      return profile;
    },
  };
}
