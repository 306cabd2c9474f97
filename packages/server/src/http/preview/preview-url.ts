import type { Config } from '../../platform/config-schema.ts';

export type PreviewUrlSettings = Pick<Config['preview'], 'domain' | 'urls'>;

/** Of the sandbox or the signed link that `name` is. `base` is how the client reaches the server; no slash at the end. */
export function previewUrl(base: string, settings: PreviewUrlSettings, name: string, port: number): string {
  const own = new URL(base);
  const host = previewHost(own, settings);
  if (settings.urls === 'path' || host === undefined) return `${base}/preview/${name}/${port}`;
  return `${own.protocol}//${port}-${name}.${host}`;
}

function previewHost(own: URL, { domain }: PreviewUrlSettings): string | undefined {
  const port = own.port === '' ? '' : `:${own.port}`;
  if (domain !== undefined) return domain.includes(':') ? domain : domain + port;
  if (!isLoopback(own.hostname)) return undefined;
  return (own.protocol === 'https:' ? 'preview.localhost' : 'localhost') + port;
}

/**
 * Browsers lead every name below `localhost` back to their own machine. Under https it is one below `preview.localhost`, because
 * no certificate can be for all names below a top-level one.
 */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host.endsWith('.localhost') || host === '[::1]' || /^127(\.\d+){3}$/.test(host);
}
