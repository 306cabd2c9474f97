import { RegistryFailure } from './failure.ts';
import type { Descriptor, ImageIndex, Platform } from './manifest.ts';

/** The platform of this machine in the words of OCI. */
export function hostPlatform(arch: string = process.arch): Platform {
  const names: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };
  return { os: 'linux', architecture: names[arch] ?? arch };
}

/** `linux/arm64/v8`. */
export function platformName({ os, architecture, variant }: Partial<Platform>): string {
  return [os ?? 'unknown', architecture ?? 'unknown', variant]
    .filter((part) => part !== undefined && part !== '')
    .join('/');
}

/**
 * The image for a platform. Among variants the baseline comes first (amd64 without a variant, arm64/v8): a higher one may use
 * instructions that this processor does not have.
 */
export function choosePlatform(index: ImageIndex, wanted: Platform): Descriptor {
  const matching = index.manifests.filter(
    ({ platform }) => platform?.os === wanted.os && platform.architecture === wanted.architecture,
  );
  const baseline = matching.find(({ platform }) => ['', 'v1', 'v8'].includes(platform?.variant ?? ''));
  const [only] = index.manifests;
  const chosen = baseline ?? matching[0] ?? (index.manifests.length === 1 && !only?.platform ? only : undefined);
  if (chosen !== undefined) return chosen;
  throw new RegistryFailure('invalid', `it is not there for ${platformName(wanted)}, only for ${namesOf(index)}`);
}

function namesOf(index: ImageIndex): string {
  // Build attestations stand in the list as unknown/unknown.
  const names = index.manifests.flatMap(({ platform }) =>
    platform && platform.os !== 'unknown' ? [platformName(platform)] : [],
  );
  return [...new Set(names)].join(', ') || 'no platform at all';
}

/** An image without an index says in its config what it is for; very old ones do not. */
export function checkPlatform(found: Partial<Platform>, wanted: Platform): void {
  const os = found.os ?? wanted.os;
  const architecture = found.architecture ?? wanted.architecture;
  if (os === wanted.os && architecture === wanted.architecture) return;
  throw new RegistryFailure(
    'invalid',
    `it is for ${platformName({ os, architecture })}, and this machine is ${platformName(wanted)}`,
  );
}
