import { LRUCache } from 'lru-cache';
import { withDeadline } from './deadline.ts';
import { RegistryFailure } from './failure.ts';
import type { RegistryLimits } from './limits.ts';
import type { Transport } from './transport.ts';

export interface SchemeProbe {
  /** The base of the registry's API. */
  baseOf(address: string, scheme: 'https:' | 'http:' | undefined, signal: AbortSignal): Promise<URL>;
}

const REMEMBER_MS = 5 * 60_000;

/** As Docker: https, and where http is allowed and https does not come about, http. */
export function createSchemeProbe(transport: Transport, limits: RegistryLimits): SchemeProbe {
  const found = new LRUCache<string, 'https:' | 'http:'>({ max: 1000, ttl: REMEMBER_MS });

  async function probe(address: string, url: URL, signal: AbortSignal): Promise<'https:' | 'http:'> {
    try {
      const response = await withDeadline(url.host, limits.probeMs, signal, (within) =>
        transport.request(new URL('/v2/', url), { headers: {}, signal: within, connectMs: limits.probeMs }),
      );
      response.body.on('error', () => {}).destroy();
    } catch (error) {
      if (!(error instanceof RegistryFailure) || error.kind === 'policy') throw error;
      // A registry that is down now says nothing of what it speaks later.
      if (error.kind === 'tls') found.set(address, 'http:');
      return 'http:';
    }
    found.set(address, 'https:');
    return 'https:';
  }

  return {
    async baseOf(address, scheme, signal) {
      const secure = new URL(`https://${address}/`);
      if (scheme !== undefined) return new URL(`${scheme}//${address}/`);
      if (!transport.mayBeInsecure(secure)) return secure;
      return new URL(`${found.get(address) ?? (await probe(address, secure, signal))}//${address}/`);
    },
  };
}
