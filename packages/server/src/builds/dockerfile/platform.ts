/** What an image is built for, as OCI names it. */
export interface Platform {
  os: 'linux';
  architecture: 'amd64' | 'arm64';
  variant?: 'v8';
}

export function formatPlatform({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** `linux/amd64`, `amd64`, `linux/arm64/v8` and the other names of these; undefined for what is not built here. */
export function readPlatform(text: string): Platform | undefined {
  const parts = text.toLowerCase().split('/');
  const [os, architecture, variant, ...more] = parts.length === 1 ? ['linux', ...parts] : parts;
  if (os !== 'linux' || more.length > 0) return undefined;
  if (
    (architecture === 'amd64' || architecture === 'x86_64' || architecture === 'x86-64') &&
    (variant ?? 'v1') === 'v1'
  ) {
    return { os: 'linux', architecture: 'amd64' };
  }
  if ((architecture === 'arm64' || architecture === 'aarch64') && (variant ?? 'v8') === 'v8') {
    return { os: 'linux', architecture: 'arm64' };
  }
  return undefined;
}

/** The variables that every FROM line has, and a stage that names them. The machine builds for itself alone. */
export function platformVariables(platform: Platform): Record<string, string> {
  const { os, architecture, variant = '' } = platform;
  const own = { PLATFORM: formatPlatform(platform), OS: os, ARCH: architecture, VARIANT: variant };
  return Object.fromEntries(
    ['BUILD', 'TARGET'].flatMap((side) => Object.entries(own).map(([name, value]) => [`${side}${name}`, value])),
  );
}
