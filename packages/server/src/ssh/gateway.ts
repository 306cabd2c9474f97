import { createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import ssh2 from 'ssh2';
import { DarkroomError, errnoOf, messageOf } from '../platform/errors.ts';
import type { SshAccess } from '../sandboxes/ssh-access.ts';
import { type SshConnection, type SshLog, serveConnection } from './connection.ts';
import { createFailedLogins } from './failed-logins.ts';
import { type HostKey, loadHostKey } from './host-key.ts';

/** Accesses that another server revoked, and sandboxes that are gone, end their connections after this at the latest. */
const LOOK_EVERY_MS = 15_000;
const MAX_PER_SANDBOX = 32;
const GREETING_TIMEOUT_MS = 20_000;
const CLOSE_GRACE_MS = 2_000;
/** By TCP: keepalives of the protocol would count as use, and no connection would ever be idle. */
const KEEPALIVE_MS = 30_000;
const NEVER_MS = 2 ** 31 - 1;
const FALLBACK = { host: '127.0.0.1', port: 2222 };

export interface SshGatewayOptions {
  access: SshAccess;
  stateDir: string;
  /** Undefined: the usual port, or a free one where that is taken. */
  listen: { host: string; port: number } | undefined;
  /** How clients reach it, where that is not the address it listens on. */
  publicAddress: { host: string; port: number | undefined } | undefined;
  maxConnections: number;
  idleMs: number;
  /** Wrong tokens from one address in a minute. */
  maxFailedLogins: number;
  log: SshLog;
}

export interface SshGateway {
  readonly hostKey: HostKey;
  readonly address: { host: string; port: number };
  /** What a person types to log in with a token. */
  command(token: string): string;
  /** Ends every connection, in bounded time. */
  close(): Promise<void>;
}

/** Logins to sandboxes by SSH: `ssh TOKEN@host`. */
export async function openSshGateway(options: SshGatewayOptions): Promise<SshGateway> {
  const { access, log, maxConnections } = options;
  const hostKey = await loadHostKey(options.stateDir);
  const failed = createFailedLogins(options.maxFailedLogins);
  const connections = new Set<SshConnection>();
  const sockets = new Set<Socket>();

  const hasRoom = (sandboxId: string) =>
    [...connections].filter(({ login }) => login?.sandboxId === sandboxId).length < MAX_PER_SANDBOX;

  const protocol = new ssh2.Server({
    hostKeys: [hostKey.privateKey],
    ident: 'Darkroom',
    keepaliveInterval: NEVER_MS,
    algorithms: {
      // Those that the processor helps with first; the library does chacha20 in software.
      cipher: ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com', 'aes128-ctr', 'aes256-ctr'],
      compress: ['none'],
    },
  });
  /** Those that have not sent their greeting, by address and port: the library tells of a client by these. */
  const waiting = new Map<string, Socket>();
  protocol.on('connection', (client, { ip, port }) => {
    const socket = waiting.get(`${ip} ${port}`);
    if (socket === undefined) return void client.end();
    waiting.delete(`${ip} ${port}`);
    const connection = serveConnection(client, socket, { access, failed, hasRoom, idleMs: options.idleMs, log });
    connections.add(connection);
    connection.finished.finally(() => connections.delete(connection));
  });

  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS }, (socket) => {
    if (sockets.size >= maxConnections || failed.isExceeded(socket.remoteAddress ?? '')) return void socket.destroy();
    sockets.add(socket);
    const name = `${socket.remoteAddress} ${socket.remotePort}`;
    waiting.set(name, socket);
    socket.on('error', () => {});
    const greeting = setTimeout(() => waiting.get(name) === socket && socket.destroy(), GREETING_TIMEOUT_MS);
    socket.once('close', () => {
      clearTimeout(greeting);
      sockets.delete(socket);
      if (waiting.get(name) === socket) waiting.delete(name);
    });
    protocol.injectSocket(socket);
  });
  const address = await listen(server, options.listen);

  access.onRevoked((ids) => {
    for (const { login, end } of connections) if (login !== undefined && ids.includes(login.accessId)) end();
  });
  const look = setInterval(() => {
    endRevoked(access, connections).catch((error: unknown) =>
      log.warn({ err: error }, `ssh: logins could not be looked at again: ${messageOf(error)}`),
    );
  }, LOOK_EVERY_MS);
  look.unref();

  const host = options.publicAddress?.host ?? address.host;
  const port = options.publicAddress?.port ?? address.port;
  return {
    hostKey,
    address,
    command: (token) => `ssh ${port === 22 ? '' : `-p ${port} `}${token}@${host}`,
    async close() {
      clearInterval(look);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const { end } of connections) end();
      const finished = Promise.all([...connections].map((connection) => connection.finished));
      await Promise.race([Promise.all([closed, finished]), delay(CLOSE_GRACE_MS, undefined, { ref: false })]);
      for (const socket of sockets) socket.destroy();
      await Promise.race([finished, delay(CLOSE_GRACE_MS, undefined, { ref: false })]);
    },
  };
}

async function endRevoked(access: SshAccess, connections: ReadonlySet<SshConnection>): Promise<void> {
  const ids = [...connections].flatMap(({ login }) => (login === undefined ? [] : [login.accessId]));
  const given = await access.stillGiven([...new Set(ids)]);
  for (const { login, end } of connections) if (login !== undefined && !given.has(login.accessId)) end();
}

async function listen(
  server: ReturnType<typeof createServer>,
  asked: { host: string; port: number } | undefined,
): Promise<{ host: string; port: number }> {
  const attempt = ({ host, port }: { host: string; port: number }) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.off('error', reject);
        resolve();
      });
    });
  try {
    await attempt(asked ?? FALLBACK).catch((error: unknown) => {
      if (asked !== undefined || errnoOf(error) !== 'EADDRINUSE') throw error;
      return attempt({ ...FALLBACK, port: 0 });
    });
  } catch (cause) {
    const { host, port } = asked ?? FALLBACK;
    throw new DarkroomError('unavailable', `ssh.listen: ${host}:${port} cannot be listened on: ${messageOf(cause)}`, {
      hint: 'Choose another address with ssh.listen, or switch SSH off with ssh.enabled: false.',
      cause,
    });
  }
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the SSH gateway has no TCP address');
  return { host: address.address, port: address.port };
}
