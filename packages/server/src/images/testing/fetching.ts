import { type Config, configSchema } from '../../platform/config-schema.ts';
import { parseReference } from '../reference.ts';
import { createRegistryClient, type ResolvedImage } from '../registry/client.ts';
import { REGISTRY_LIMITS, type RegistryLimits } from '../registry/limits.ts';
import { hostPlatform } from '../registry/platform.ts';
import type { CredentialLookup, RegistryCredentials } from '../types.ts';

/** The real limits with waits that a test can afford. */
export const QUICK_LIMITS: RegistryLimits = {
  ...REGISTRY_LIMITS,
  connectMs: 5_000,
  probeMs: 5_000,
  headersMs: 15_000,
  idleMs: 10_000,
  documentMs: 20_000,
  backoffMs: 1,
  maxBackoffMs: 5,
};

export function registryConfig(config: Partial<Config['registries']> = {}): Config['registries'] {
  return { ...configSchema.parse({}).registries, ...config };
}

export const ANONYMOUS: CredentialLookup = async () => undefined;
export const always =
  (credentials: RegistryCredentials): CredentialLookup =>
  async () =>
    credentials;

export interface FetchOptions {
  credentials?: CredentialLookup;
  config?: Partial<Config['registries']>;
  limits?: Partial<RegistryLimits>;
  signal?: AbortSignal;
}

/** Resolves an image and reads all its layers, as a pull does. */
export async function fetchImage(
  reference: string,
  options: FetchOptions = {},
): Promise<ResolvedImage & { contents: Buffer[] }> {
  const client = createRegistryClient(registryConfig(options.config), { ...QUICK_LIMITS, ...options.limits });
  const signal = options.signal ?? AbortSignal.timeout(20_000);
  try {
    const repository = client.repository(parseReference(reference), options.credentials ?? ANONYMOUS);
    const image = await repository.resolve(hostPlatform(), signal);
    const contents: Buffer[] = [];
    for (const layer of image.layers) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of repository.blob(layer, signal)) chunks.push(chunk);
      contents.push(Buffer.concat(chunks));
    }
    return { ...image, contents };
  } finally {
    await client.close();
  }
}
