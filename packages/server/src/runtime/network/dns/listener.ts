import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { errnoOf } from '../../../platform/errors.ts';
import { type Budget, createBudget } from './budget.ts';
import { frame, readFrames } from './framing.ts';

export interface DnsListener {
  readonly port: number;
  close(): void;
}

export interface ListenOptions {
  /** The host's end of the sandbox's link. */
  address: string;
  /** Who alone is answered. */
  sandbox: string;
  answer(message: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer | undefined>;
}

// The same after a restart of the server, so that what asks by an open socket goes on; 53 may be a name server of the host's.
const PREFERRED_PORT = 15_353;
const MAX_QUERY_BYTES = 4_096;
const MAX_CONNECTIONS = 8;
const CONNECTION_MS = 10_000;
const BUDGET = { perSecond: 50, burst: 100, atOnce: 32 };

/** A name server for one sandbox. What it asks beyond its budget gets no answer. */
export async function listenForQueries(options: ListenOptions): Promise<DnsListener> {
  try {
    return await listenOn(PREFERRED_PORT, options);
  } catch (error) {
    if (errnoOf(error) !== 'EADDRINUSE') throw error;
    return listenOn(0, options);
  }
}

async function listenOn(wanted: number, options: ListenOptions): Promise<DnsListener> {
  const budget = createBudget(BUDGET);
  const udp = createSocket('udp4');
  const tcp = createServer({ noDelay: true });
  try {
    udp.bind({ address: options.address, port: wanted, exclusive: true });
    await once(udp, 'listening');
    const { port } = udp.address();
    tcp.maxConnections = MAX_CONNECTIONS;
    tcp.listen({ host: options.address, port, exclusive: true });
    await once(tcp, 'listening');
    const connections = new Set<Socket>();
    serveUdp(udp, budget, options);
    serveTcp(tcp, connections, budget, options);
    return {
      port,
      close() {
        closeQuietly(udp);
        tcp.close();
        for (const connection of connections) connection.destroy();
      },
    };
  } catch (error) {
    closeQuietly(udp);
    tcp.close();
    throw error;
  }
}

function serveUdp(udp: UdpSocket, budget: Budget, { sandbox, answer }: ListenOptions): void {
  // An answer that cannot be sent is one more that was lost on the way.
  udp.on('error', () => {});
  udp.on('message', (message, from) => {
    if (from.address !== sandbox || message.length > MAX_QUERY_BYTES || !budget.begin()) return;
    answer(message, 'udp')
      .then((reply) => {
        if (reply !== undefined) udp.send(reply, from.port, from.address, () => {});
      })
      // The socket was closed meanwhile.
      .catch(() => {})
      .finally(() => budget.end());
  });
}

function serveTcp(tcp: Server, connections: Set<Socket>, budget: Budget, { sandbox, answer }: ListenOptions): void {
  tcp.on('error', () => {});
  tcp.on('connection', (socket) => {
    socket.on('error', () => {});
    if (socket.remoteAddress !== sandbox) {
      socket.destroy();
      return;
    }
    connections.add(socket);
    const timer = setTimeout(() => socket.destroy(), CONNECTION_MS);
    socket.on('close', () => {
      clearTimeout(timer);
      connections.delete(socket);
    });
    readFrames(socket, MAX_QUERY_BYTES, (message) => {
      if (!budget.begin()) {
        socket.destroy();
        return;
      }
      answer(message, 'tcp')
        .then((reply) => {
          if (reply === undefined) socket.destroy();
          else if (!socket.destroyed) socket.write(frame(reply));
        })
        .catch(() => socket.destroy())
        .finally(() => budget.end());
    });
  });
}

function closeQuietly(udp: UdpSocket): void {
  try {
    udp.close();
  } catch {
    // It was never opened.
  }
}
