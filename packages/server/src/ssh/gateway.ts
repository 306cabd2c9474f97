import { createServer, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Server as ProtocolServer } from 'ssh2';
import { counted, shared } from '../platform/counted.ts';
import { DarkroomError, errnoOf, messageOf } from '../platform/errors.ts';
import { hasShare } from '../platform/fair-share.ts';
import type { SshAccess, SshLogin } from '../sandboxes/ssh-access.ts';
import { type SshConnection, type SshLog, serveConnection } from './connection.ts';
import { createFailedLogins } from './failed-logins.ts';
import { type HostKey, loadHostKey } from './host-key.ts';
import { holdBackWhileUnread } from './unread-answers.ts';

/** Accesses that another server revoked, and sandboxes that are gone, end their connections after this at the latest. */
const LOOK_EVERY_MS = 15_000;
const MAX_PER_SANDBOX = 32;
const MAX_CHANNELS_PER_SANDBOX = 128;
const MAX_FILES_PER_SANDBOX = 1024;
const MAX_FILES = 4096;
/** Of one address, that have not logged in: nobody alone takes all places by saying nothing. */
const MAX_GUESTS = 32;
const MAX_UNSENT_BYTES = 4 * 1024 * 1024;
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

  const takeGuest = counted(MAX_GUESTS);
  const takeChannel = counted(MAX_CHANNELS_PER_SANDBOX);
  const [ofSandbox, ofAll] = [counted(MAX_FILES_PER_SANDBOX), shared(MAX_FILES)];
  const takeFile = ({ sandboxId, organizationId }: SshLogin) => {
    const leave = ofSandbox(sandboxId);
    const leaveAll = leave && ofAll(organizationId);
    if (leaveAll === undefined) return void leave?.();
    return () => {
      leave?.();
      leaveAll();
    };
  };
  const hasRoom = ({ sandboxId, organizationId }: SshLogin) => {
    const logins = [...connections].flatMap(({ login }) => login ?? []);
    const own = logins.filter((login) => login.organizationId === organizationId).length;
    return (
      logins.filter((login) => login.sandboxId === sandboxId).length < MAX_PER_SANDBOX &&
      hasShare({ own, taken: logins.length, all: maxConnections })
    );
  };

  /** Those that have not sent their greeting, by address and port: the library tells of a client by these. */
  const waiting = new Map<string, { socket: Socket; leave: () => void }>();
  const protocol = onFirstUse(async () => {
    const server = await protocolServer(hostKey);
    server.on('connection', (client, { ip, port }) => {
      const guest = waiting.get(`${ip} ${port}`);
      if (guest === undefined) return void client.end();
      waiting.delete(`${ip} ${port}`);
      const deps = {
        access,
        failed,
        hasRoom,
        takeChannel,
        takeFile,
        onLogin: guest.leave,
        idleMs: options.idleMs,
        log,
      };
      const connection = serveConnection(client, guest.socket, deps);
      connections.add(connection);
      connection.finished.finally(() => connections.delete(connection));
    });
    return server;
  });

  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEPALIVE_MS }, (socket) => {
    const { remoteAddress = '', remotePort } = socket;
    const leave = sockets.size < maxConnections && !failed.isExceeded(remoteAddress) && takeGuest(remoteAddress);
    if (!leave) return void socket.destroy();
    sockets.add(socket);
    const name = `${remoteAddress} ${remotePort}`;
    waiting.set(name, { socket, leave });
    socket.on('error', () => {});
    const isWaiting = () => waiting.get(name)?.socket === socket;
    const greeting = setTimeout(() => isWaiting() && socket.destroy(), GREETING_TIMEOUT_MS);
    socket.once('close', () => {
      clearTimeout(greeting);
      leave();
      sockets.delete(socket);
      if (isWaiting()) waiting.delete(name);
    });
    protocol()
      .then((it) => {
        if (socket.destroyed) return;
        it.injectSocket(socket);
        holdBackWhileUnread(socket, MAX_UNSENT_BYTES);
      })
      .catch((error: unknown) => {
        log.warn({ err: error }, `ssh: a connection could not be served: ${messageOf(error)}`);
        socket.destroy();
      });
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

/** Loaded with the first client: most servers are asked for no SSH, and the library takes its share of memory. */
async function protocolServer(hostKey: HostKey): Promise<ProtocolServer> {
  const { default: ssh2 } = await import('ssh2');
  return new ssh2.Server({
    hostKeys: [hostKey.privateKey],
    ident: 'Darkroom',
    keepaliveInterval: NEVER_MS,
    algorithms: {
      // No groups of integers: one handshake by those of 8192 bits costs the server fifty times what it costs by a curve.
      kex: ['curve25519-sha256', 'curve25519-sha256@libssh.org', 'ecdh-sha2-nistp256', 'ecdh-sha2-nistp384'],
      hmac: ['hmac-sha2-256-etm@openssh.com', 'hmac-sha2-512-etm@openssh.com', 'hmac-sha2-256', 'hmac-sha2-512'],
      // Those that the processor helps with first; the library does chacha20 in software.
      cipher: ['aes128-gcm@openssh.com', 'aes256-gcm@openssh.com', 'aes128-ctr', 'aes256-ctr'],
      compress: ['none'],
    },
  });
}

function onFirstUse<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

async function endRevoked(access: SshAccess, connections: ReadonlySet<SshConnection>): Promise<void> {
  // Who logs in while the answer is on its way was not asked for.
  const asked = [...connections].flatMap(({ login, end }) =>
    login === undefined ? [] : [{ id: login.accessId, end }],
  );
  const given = await access.stillGiven([...new Set(asked.map(({ id }) => id))]);
  for (const { id, end } of asked) if (!given.has(id)) end();
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
