import type { Agent } from 'undici';
import { createConnector } from '../../images/registry/connector.ts';
import { createTrustedContext } from '../../images/registry/trust.ts';

export interface RemoteAgentOptions {
  /** Loopback and private addresses too. Never those of a cloud's metadata. */
  allowInternal: boolean;
  caFiles: readonly string[];
}

/** Connections to where ADD fetches from. */
export interface RemoteAgent {
  open(): Promise<Agent>;
  close(): Promise<void>;
}

const CONNECT_MS = 10_000;
const HEADERS_MS = 60_000;
const IDLE_MS = 30_000;

export function createRemoteAgent(options: RemoteAgentOptions): RemoteAgent {
  let agent: Promise<Agent> | undefined;
  // Loaded with the first URL: a server that fetches none saves the memory.
  const load = async () => {
    const library = await import('undici');
    return new library.Agent({
      connect: createConnector({
        buildConnector: library.buildConnector,
        publicOnly: !options.allowInternal,
        insecure: false,
        connectMs: CONNECT_MS,
        secureContext: createTrustedContext(options.caFiles),
        onConnect: () => {},
      }),
      headersTimeout: HEADERS_MS,
      bodyTimeout: IDLE_MS,
      keepAliveTimeout: 10_000,
    });
  };
  return {
    open() {
      agent ??= load();
      return agent;
    },
    close: async () => (await agent)?.destroy(),
  };
}
