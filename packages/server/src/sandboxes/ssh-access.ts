import { createHash, randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { DarkroomError, invalidRequest } from '../platform/errors.ts';
import { findLiving } from './find.ts';
import { openSshSandbox, type SshSandbox } from './ssh-sandbox.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

const DEFAULT_MINUTES = 60;
const MAX_MINUTES = 365 * 24 * 60;
/** Valid ones of one sandbox, as of signed links to previews. */
const MAX_ACCESSES = 1_000;
const TOKEN_PATTERN = /^[0-9a-f]{48}$/;

export const looksLikeSshToken = (value: string): boolean => TOKEN_PATTERN.test(value);

/** Who may log in to which sandbox until when. */
export interface SshLogin {
  accessId: string;
  organizationId: string;
  sandboxId: string;
  expiresAt: Date;
}

export interface NewSshAccess extends SshLogin {
  /** Shown once, never stored. */
  token: string;
  createdAt: Date;
}

export interface SshAccess {
  create(caller: Caller, idOrName: string, minutes?: number): Promise<NewSshAccess>;
  /** That token's, or without one every login of the sandbox. Connections end too. Idempotent. */
  revoke(caller: Caller, idOrName: string, token?: string): Promise<SandboxRow>;
  /** The sandbox that a token of this organization opens now. */
  validate(caller: Caller, token: string): Promise<string | undefined>;
  /** Undefined for a malformed, unknown or expired token. Asks the database. */
  login(token: string): Promise<SshLogin | undefined>;
  /** Which of these have not been revoked, here or by another server, and whose sandbox still exists. */
  stillGiven(accessIds: readonly string[]): Promise<Set<string>>;
  /** Called with the accesses that this server revoked. */
  onRevoked(listener: (accessIds: readonly string[]) => void): void;
  /** Raises `not_found`, and `invalid_request` when the sandbox does not run. Counts as activity. */
  open(login: SshLogin): Promise<SshSandbox>;
}

/** Found by its hash: how long the look-up takes tells nothing about a token of 192 random bits. */
const hashOf = (token: string) => createHash('sha256').update(token).digest();

export function createSshAccess(context: SandboxContext): SshAccess {
  const { db } = context;
  const listeners: ((accessIds: readonly string[]) => void)[] = [];

  async function find(token: string): Promise<SshLogin | undefined> {
    if (!looksLikeSshToken(token)) return undefined;
    const row = await db
      .selectFrom('ssh_accesses')
      .innerJoin('sandboxes', 'sandboxes.id', 'ssh_accesses.sandbox_id')
      .select(['ssh_accesses.id', 'ssh_accesses.organization_id', 'sandbox_id', 'expires_at'])
      .where('hash', '=', hashOf(token))
      .where('expires_at', '>', sql<Date>`now()`)
      .where('sandboxes.state', 'not in', ['destroying', 'destroyed'])
      .executeTakeFirst();
    if (row === undefined) return undefined;
    const { id: accessId, organization_id: organizationId, sandbox_id: sandboxId, expires_at: expiresAt } = row;
    return { accessId, organizationId, sandboxId, expiresAt };
  }

  return {
    async create(caller, idOrName, minutes = DEFAULT_MINUTES) {
      if (!(minutes > 0 && minutes <= MAX_MINUTES)) {
        throw invalidRequest(`expiresInMinutes must be more than 0 and at most ${MAX_MINUTES}`);
      }
      const { id: sandboxId, organization_id: organizationId } = await findLiving(db, caller.organizationId, idOrName);
      const token = randomBytes(24).toString('hex');
      // What ran out long ago goes when something new comes: nothing else ever looks at it.
      await db.deleteFrom('ssh_accesses').where('expires_at', '<', sql<Date>`now() - interval '1 day'`).execute();
      const { count } = await db
        .selectFrom('ssh_accesses')
        .select(({ fn }) => fn.countAll<string>().as('count'))
        .where('sandbox_id', '=', sandboxId)
        .where('expires_at', '>', sql<Date>`now()`)
        .executeTakeFirstOrThrow();
      if (Number(count) >= MAX_ACCESSES) {
        throw new DarkroomError('rate_limited', `The sandbox has ${MAX_ACCESSES} SSH tokens that are still valid`, {
          hint: 'Revoke some of them, or ask for ones that are valid for a shorter time.',
          retryable: true,
        });
      }
      const row = await db
        .insertInto('ssh_accesses')
        .values({
          hash: hashOf(token),
          organization_id: organizationId,
          sandbox_id: sandboxId,
          expires_at: new Date(Date.now() + minutes * 60_000),
        })
        .returning(['id', 'created_at', 'expires_at'])
        .executeTakeFirstOrThrow();
      return {
        accessId: row.id,
        organizationId,
        sandboxId,
        token,
        createdAt: row.created_at,
        expiresAt: row.expires_at,
      };
    },

    async revoke(caller, idOrName, token) {
      const sandbox = await findLiving(db, caller.organizationId, idOrName);
      let query = db.deleteFrom('ssh_accesses').where('sandbox_id', '=', sandbox.id);
      if (token !== undefined) query = query.where('hash', '=', hashOf(token));
      const gone = await query.returning('id').execute();
      const ids = gone.map(({ id }) => id);
      if (ids.length > 0) for (const listener of listeners) listener(ids);
      return sandbox;
    },

    async validate(caller, token) {
      const login = await find(token);
      return login?.organizationId === caller.organizationId ? login.sandboxId : undefined;
    },

    login: find,

    async stillGiven(accessIds) {
      if (accessIds.length === 0) return new Set();
      const rows = await db
        .selectFrom('ssh_accesses')
        .innerJoin('sandboxes', 'sandboxes.id', 'ssh_accesses.sandbox_id')
        .select('ssh_accesses.id')
        .where('ssh_accesses.id', 'in', accessIds)
        .where('sandboxes.state', 'not in', ['destroying', 'destroyed'])
        .execute();
      return new Set(rows.map(({ id }) => id));
    },

    onRevoked: (listener) => void listeners.push(listener),

    open: (login) => openSshSandbox(context, login),
  };
}
