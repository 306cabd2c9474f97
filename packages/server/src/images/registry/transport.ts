import { LRUCache } from 'lru-cache';
import type { Agent, Dispatcher } from 'undici';
import type { Config } from '../../platform/config-schema.ts';
import type { AddressClass } from './address.ts';
import { createConnector } from './connector.ts';
import { failureOfConnection, RegistryFailure, redactUrl } from './failure.ts';
import type { RegistryLimits } from './limits.ts';
import { createTrustedContext, mayBeInsecure } from './trust.ts';

export interface TransportRequest {
  /** `GET` without one. */
  method?: 'GET' | 'HEAD';
  headers: Record<string, string>;
  signal: AbortSignal;
  /** Refuses addresses that are not public. */
  publicOnly?: boolean;
  connectMs?: number;
}

export type TransportResponse = Dispatcher.ResponseData;

/** One request, no redirects, no retries; every failure is a RegistryFailure, except the signal's reason. */
export interface Transport {
  request(url: URL, request: TransportRequest): Promise<TransportResponse>;
  /** Whether http, or a certificate without a known issuer, will do for this host. */
  mayBeInsecure(url: URL): boolean;
  /** Whether all connections to this origin so far led to loopback or private addresses. */
  isInternal(url: URL): boolean;
  close(): Promise<void>;
}

/** Loaded with the first request: a server that pulls nothing saves the memory, ten megabytes of it. */
type Library = typeof import('undici');

/** Connections to one registry at a time, over all pulls. */
const CONNECTIONS = 64;

export function createTransport(registries: Config['registries'], limits: RegistryLimits): Transport {
  const secureContext = createTrustedContext(registries.caFiles);
  const reached = new LRUCache<string, AddressClass>({ max: 1000 });
  const agents = new Map<string, Agent>();
  const note = (origin: string, kind: AddressClass) => {
    // A name that led to a public address once stays public, whatever its DNS says the next time.
    if (reached.get(origin) !== 'public') reached.set(origin, kind);
  };

  function agentFor(library: Library, publicOnly: boolean, insecure: boolean, connectMs: number): Agent {
    const key = `${publicOnly} ${insecure} ${connectMs}`;
    const known = agents.get(key);
    if (known !== undefined) return known;
    const { buildConnector } = library;
    const agent = new library.Agent({
      connect: createConnector({ buildConnector, publicOnly, insecure, connectMs, secureContext, onConnect: note }),
      connections: CONNECTIONS,
      headersTimeout: limits.headersMs,
      bodyTimeout: limits.idleMs,
      keepAliveTimeout: 10_000,
      keepAliveMaxTimeout: 60_000,
    });
    agents.set(key, agent);
    return agent;
  }

  return {
    mayBeInsecure: (url) => mayBeInsecure(url, registries.insecure),
    isInternal: (url) => reached.get(url.origin) === 'internal',
    async request(url, { method = 'GET', headers, signal, publicOnly = false, connectMs = limits.connectMs }) {
      const insecure = mayBeInsecure(url, registries.insecure);
      if (url.protocol !== 'https:' && !(url.protocol === 'http:' && insecure)) {
        throw new RegistryFailure('policy', `${method} ${redactUrl(url)}: only https is spoken with this host`);
      }
      signal.throwIfAborted();
      try {
        return await agentFor(await import('undici'), publicOnly, insecure, connectMs).request({
          origin: url.origin,
          path: `${url.pathname}${url.search}`,
          method,
          headers: { 'user-agent': 'darkroom', 'accept-encoding': 'identity', ...headers },
          signal,
        });
      } catch (error) {
        signal.throwIfAborted();
        throw failureOfConnection(`${method} ${redactUrl(url)}`, error);
      }
    },
    async close() {
      await Promise.all([...agents.values()].map((agent) => agent.destroy()));
      agents.clear();
    },
  };
}
