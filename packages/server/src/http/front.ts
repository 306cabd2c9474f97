import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { descriptorLimit } from '../platform/descriptor-limit.ts';
import type { PreviewFront } from './preview/index.ts';

/** Each connection has a descriptor, a preview two; the rest is for what the server does inside, however many connect. */
const MOST_CONNECTIONS = 20_000;
const PART_OF_DESCRIPTORS = 1 / 3;

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Parts previews from everything else before any route is looked at. */
export interface Front {
  createServer(handler: Handler): Server;
  /**
   * Tells a client that waits for it to send its body. Until then it has not begun to, and an answer before ends its connection,
   * because nobody could say whether what comes next is a body or another request.
   */
  inviteBody(response: ServerResponse): void;
  /** Call once, with the server that hears the upgrades of all. */
  listenForUpgrades(server: Server): void;
  /** Hears the upgrades that are no previews. It never listens itself. */
  readonly otherUpgrades: Server;
}

export interface FrontOptions extends ServerOptions {
  /** A certificate and its key (PEM): the server speaks TLS. */
  tls?: { cert: string; key: string } | undefined;
}

export function createFront({ tls, ...options }: FrontOptions, previews: PreviewFront | undefined): Front {
  const otherUpgrades = createServer();
  /** Whether the connection would have stayed open. */
  const waiting = new WeakMap<ServerResponse, boolean>();
  const takes = (request: IncomingMessage) => previews?.takes(request) === true;

  return {
    otherUpgrades,
    inviteBody(response) {
      const keepAlive = waiting.get(response);
      if (keepAlive === undefined) return;
      waiting.delete(response);
      response.shouldKeepAlive = keepAlive;
      response.writeContinue();
    },
    createServer(handler) {
      const serve: Handler = (request, response) => {
        if (previews && takes(request)) previews.serve(request, response);
        else handler(request, response);
      };
      const settings: ServerOptions = {
        ...options,
        shouldUpgradeCallback: (request) => !takes(request) || wantsTunnel(request),
      };
      const server: Server =
        tls === undefined
          ? createServer(settings, serve)
          : createSecureServer({ ...settings, ...tls, handshakeTimeout: options.headersTimeout }, serve);
      server.maxConnections = Math.min(MOST_CONNECTIONS, Math.floor(descriptorLimit() * PART_OF_DESCRIPTORS));
      server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
        // The program in the sandbox decides whether it wants the body.
        if (!takes(request)) {
          waiting.set(response, response.shouldKeepAlive);
          response.shouldKeepAlive = false;
        }
        serve(request, response);
      });
      return server;
    },
    listenForUpgrades(server) {
      server.on('upgrade', (request: IncomingMessage, client: Duplex, head: Buffer) => {
        if (!previews || !takes(request)) otherUpgrades.emit('upgrade', request, client, head);
        else if (client instanceof Socket) previews.serveUpgrade(request, client, head);
        else client.destroy();
      });
    },
  };
}

/** HTTP/2 in clear text is offered by some clients with any request, and meant by none; a body belongs to a plain request. */
function wantsTunnel({ headers, method }: IncomingMessage): boolean {
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  return method === 'GET' && !hasBody && !/\bh2c\b/i.test(headers.upgrade ?? '');
}
