import type { Socket } from 'node:net';
import { LRUCache } from 'lru-cache';
import { DarkroomError, invalidRequest } from '../platform/errors.ts';
import { isUuid } from '../snapshots/find.ts';
import { findLiving, notRunning, sandboxNotFound } from './find.ts';
import { deleteLink, makeLink, type SignedLink, sandboxOfLink } from './preview-links.ts';
import { type PreviewSecrets, portCookie, portToken, sameSecret } from './preview-tokens.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

/** How a request names what it wants to see. */
export type PreviewSubject = { kind: 'sandbox'; sandboxId: string } | { kind: 'link'; token: string };

/** A port of a sandbox that a request is for; whether it may see it is another question. */
export interface PreviewTarget {
  sandboxId: string;
  organizationId: string;
  port: number;
  isPublic: boolean;
  state: SandboxRow['state'];
  /** The token of the signed link that leads here. */
  link: string | undefined;
}

/** What a request shows to be let in. Each of them may be wrong. */
export interface PreviewCredentials {
  tokens: readonly string[];
  cookies: readonly string[];
  /** The organization of a verified key that may use sandboxes. */
  organizationId: string | undefined;
}

export interface Previews {
  link(caller: Caller, idOrName: string, port: number): Promise<{ sandboxId: string; token: string }>;
  signedLink(
    caller: Caller,
    idOrName: string,
    port: number,
    seconds: number | undefined,
  ): Promise<SignedLink & { sandboxId: string }>;
  /** Also of a link that does not exist any more: afterwards there is none, and what it had opened is cut. */
  expireLink(caller: Caller, idOrName: string, port: number, token: string): Promise<void>;
  /** Raises `not_found` for an unknown sandbox, `unauthenticated` for a link that is not valid (any more). */
  find(subject: PreviewSubject, port: number): Promise<PreviewTarget>;
  mayOpen(target: PreviewTarget, credentials: PreviewCredentials): boolean;
  cookieFor(target: Pick<PreviewTarget, 'sandboxId' | 'port'>): string;
  /** The organization of a sandbox, for who has the token of its port 1, by which clients open WebSockets of the toolbox. */
  toolboxOwner(sandboxId: string, token: string): Promise<string | undefined>;
  /** Raises `invalid_request` when the sandbox does not run, else as the runtime's `connect`. */
  connect(target: PreviewTarget, signal: AbortSignal): Promise<Socket>;
  /** The sandbox is in use until the returned function is called. */
  begin(sandboxId: string): () => void;
  /** Traffic flows: the sandbox is in use. */
  touch(sandboxId: string): void;
  /** Calls back with the token of each link that was expired by hand. */
  onExpired(listener: (token: string) => void): void;
}

/** How old a look at the database may be. Bounds how late another server hears that a link or a sandbox changed. */
const FRESH_MS = 1_000;
const MAX_CACHED = 10_000;
/** Where clients get the token from that is for the toolbox; a shell is worth more than any preview. */
const TOOLBOX_PORT = 1;

export function createPreviews(context: SandboxContext, secrets: PreviewSecrets): Previews {
  const { db } = context;
  const known = new LRUCache<string, Promise<PreviewTarget>>({ max: MAX_CACHED, ttl: FRESH_MS });
  const listeners: ((token: string) => void)[] = [];

  async function load(subject: PreviewSubject, port: number): Promise<PreviewTarget> {
    const link = subject.kind === 'link' ? subject.token : undefined;
    const sandboxId = subject.kind === 'sandbox' ? subject.sandboxId : await sandboxOfLink(db, subject.token, port);
    if (sandboxId === undefined) {
      throw new DarkroomError('unauthenticated', 'This link to a preview is not valid', {
        hint: 'It has expired, was revoked, or is for another port. Ask for a new one.',
      });
    }
    const row = await db
      .selectFrom('sandboxes')
      .select(['id', 'organization_id', 'is_public', 'state'])
      .where('id', '=', sandboxId)
      .where('state', 'not in', ['destroying', 'destroyed'])
      .executeTakeFirst();
    if (row === undefined) throw sandboxNotFound(sandboxId);
    return { sandboxId, organizationId: row.organization_id, port, isPublic: row.is_public, state: row.state, link };
  }

  const keyOf = (subject: PreviewSubject, port: number) =>
    subject.kind === 'sandbox' ? `${subject.sandboxId} ${port}` : `link ${subject.token} ${port}`;

  return {
    async link(caller, idOrName, port) {
      checkPort(port);
      const { id } = await findLiving(db, caller.organizationId, idOrName);
      return { sandboxId: id, token: portToken(secrets, id, port) };
    },
    async signedLink(caller, idOrName, port, seconds) {
      checkPort(port);
      const { id } = await findLiving(db, caller.organizationId, idOrName);
      return { sandboxId: id, ...(await makeLink(db, id, port, seconds)) };
    },
    async expireLink(caller, idOrName, port, token) {
      checkPort(port);
      const { id } = await findLiving(db, caller.organizationId, idOrName);
      const existed = await deleteLink(db, id, port, token);
      known.delete(keyOf({ kind: 'link', token }, port));
      if (existed) for (const listener of listeners) listener(token);
    },
    find(subject, port) {
      const key = keyOf(subject, port);
      const cached = known.get(key);
      if (cached !== undefined) return cached;
      const loading = load(subject, port);
      // Failures are kept too, for as long: a flood for a sandbox that is gone is not a flood of the database.
      loading.catch(() => {});
      known.set(key, loading);
      return loading;
    },
    mayOpen(target, credentials) {
      if (target.isPublic || target.link !== undefined) return true;
      if (credentials.organizationId === target.organizationId) return true;
      const { sandboxId, port } = target;
      return (
        credentials.tokens.some((token) => sameSecret(token, portToken(secrets, sandboxId, port))) ||
        credentials.cookies.some((cookie) => sameSecret(cookie, portCookie(secrets, sandboxId, port)))
      );
    },
    cookieFor: ({ sandboxId, port }) => portCookie(secrets, sandboxId, port),
    async toolboxOwner(sandboxId, token) {
      if (!isUuid(sandboxId) || !sameSecret(token, portToken(secrets, sandboxId.toLowerCase(), TOOLBOX_PORT)))
        return undefined;
      return (await load({ kind: 'sandbox', sandboxId }, TOOLBOX_PORT)).organizationId;
    },
    async connect({ sandboxId, port, state }, signal) {
      if (state !== 'started') throw notRunning(state);
      return context.runtime.connect(sandboxId, port, { signal });
    },
    begin: (sandboxId) => context.activity.begin(sandboxId),
    touch: (sandboxId) => context.activity.touch(sandboxId),
    onExpired: (listener) => void listeners.push(listener),
  };
}

function checkPort(port: number): void {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalidRequest('Invalid port: it must be 1 to 65535');
}
