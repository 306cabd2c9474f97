import type { Socket } from 'node:net';
import type { AuthContext, Connection } from 'ssh2';
import type { Take } from '../platform/counted.ts';
import { messageOf } from '../platform/errors.ts';
import type { SshAccess, SshLogin } from '../sandboxes/ssh-access.ts';
import type { FailedLogins } from './failed-logins.ts';
import { forward, isSandboxAddress } from './forward.ts';
import { serveSession } from './session.ts';

const LOGIN_TIMEOUT_MS = 60_000;
const MAX_ATTEMPTS = 6;
/** Each may hold some megabytes that were sent and not yet read. */
const MAX_CHANNELS = 32;
/** Longest wait of a timer. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface SshLog {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
}

export interface ConnectionDeps {
  access: SshAccess;
  failed: FailedLogins;
  /** Whether the sandbox, and its organization, may have one more connection. */
  hasRoom(login: SshLogin): boolean;
  /** Of all connections to one sandbox: a channel holds memory of the server, an open file a descriptor. */
  takeChannel: Take;
  takeFile(login: SshLogin): ReturnType<Take>;
  /** It is logged in, and no guest any more. */
  onLogin(): void;
  idleMs: number;
  log: SshLog;
}

/** One client, from its greeting to its end. */
export interface SshConnection {
  /** Undefined until it is logged in. */
  readonly login: SshLogin | undefined;
  readonly ended: Promise<void>;
  /** Resolves when all that it did has ended. */
  readonly finished: Promise<void>;
  end(): void;
}

export function serveConnection(connection: Connection, socket: Socket, deps: ConnectionDeps): SshConnection {
  const { access, failed, log } = deps;
  const address = socket.remoteAddress ?? '';
  const work = new Set<Promise<void>>();
  const disconnected = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const loginTimer = setTimeout(() => socket.destroy(), LOGIN_TIMEOUT_MS);
  let expiry: NodeJS.Timeout | undefined;
  let login: SshLogin | undefined;
  let attempts = 0;
  let channels = 0;
  let endUse: (() => void) | undefined;

  const background = (one: Promise<void>) => {
    const watched = one
      .catch((error: unknown) => log.warn({ err: error }, `ssh: ${messageOf(error)}`))
      .finally(() => work.delete(watched));
    work.add(watched);
  };

  async function authenticate(context: AuthContext): Promise<void> {
    attempts += 1;
    if (attempts > MAX_ATTEMPTS || failed.isExceeded(address)) return void socket.destroy();
    // Who has the token may come with any key or password, and with none.
    const found = await access.login(context.username);
    if (found === undefined) {
      failed.note(address);
      return context.reject();
    }
    if (!deps.hasRoom(found)) return context.reject();
    login = found;
    deps.onLogin();
    context.accept();
  }

  connection.on('authentication', (context) => {
    authenticate(context).catch((error: unknown) => {
      log.warn({ err: error }, `ssh: a login could not be looked at: ${messageOf(error)}`);
      context.reject();
    });
  });
  connection.on('ready', () => {
    clearTimeout(loginTimer);
    if (login === undefined) return void socket.destroy();
    log.info({ sandbox: login.sandboxId, access: login.accessId, address }, 'logged in by SSH');
    socket.setTimeout(deps.idleMs, () => socket.destroy());
    armExpiry(login.expiresAt.getTime());
  });
  connection.on('error', () => socket.destroy());

  function armExpiry(at: number): void {
    const wait = at - Date.now();
    if (wait <= 0) return void socket.destroy();
    expiry = setTimeout(() => armExpiry(at), Math.min(wait, MAX_TIMER_MS));
  }

  async function sandbox() {
    if (login === undefined) throw new Error('not logged in');
    const inside = await access.open(login);
    // In use as long as the connection lasts, however quiet it is.
    endUse ??= inside.begin();
    return inside;
  }

  function takeChannel(): (() => void) | undefined {
    const giveBack = login && channels < MAX_CHANNELS ? deps.takeChannel(login.sandboxId) : undefined;
    if (giveBack === undefined) return undefined;
    channels += 1;
    return () => {
      channels -= 1;
      giveBack();
    };
  }

  connection.on('session', (accept, reject) => {
    const leave = takeChannel();
    if (leave === undefined) return reject();
    const session = accept();
    Promise.race([new Promise((closed) => session.once('close', closed)), disconnected]).then(leave);
    serveSession(session, {
      sandbox,
      background,
      disconnected,
      takeFile: () => login && deps.takeFile(login),
    });
  });
  connection.on('tcpip', (accept, reject, { destIP, destPort }) => {
    const leave = isSandboxAddress(destIP) ? takeChannel() : undefined;
    if (leave === undefined) return reject();
    const forwarded = sandbox()
      .then((inside) => forward(inside, destPort, accept, disconnected))
      // Nothing listens there, or the sandbox does not run: the client hears that it could not connect.
      .catch(() => reject())
      .finally(leave);
    background(forwarded);
  });
  connection.on('request', (_accept, reject) => reject?.());

  const finished = disconnected.then(async () => {
    clearTimeout(loginTimer);
    clearTimeout(expiry);
    await Promise.all(work);
    endUse?.();
  });
  return {
    get login() {
      return login;
    },
    ended: disconnected,
    finished,
    end() {
      connection.end();
      socket.destroySoon();
      setTimeout(() => socket.destroy(), 1_000).unref();
    },
  };
}
