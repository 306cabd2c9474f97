import { createHmac } from 'node:crypto';
import { sql } from 'kysely';
import { isUuid } from '../snapshots/find.ts';
import { findLiving, sandboxNotFound } from './find.ts';
import { type PreviewSecrets, sameSecret } from './preview-tokens.ts';
import type { Caller, SandboxContext } from './types.ts';

/** What a signed URL of a file says: clients sign it themselves, with the key of the sandbox. */
export interface SignedFile {
  method: string;
  path: string;
  /** Seconds since 1970; `0` is never. As it stands in the URL, because that is what was signed. */
  expires: string;
  signature: string;
}

/** URLs by which anyone who has them reads or writes one file, without a key of the API. */
export interface FileLinks {
  /** The key that clients sign with. It is worth as much as all files of the sandbox. */
  signingKey(caller: Caller, idOrName: string): Promise<string>;
  /** A new key; URLs that were signed before are worth nothing from now on. */
  rotate(caller: Caller, idOrName: string): Promise<string>;
  /** The organization of the sandbox when the signature is good and of its time, else undefined. */
  ownerOf(sandboxId: string, file: SignedFile, now?: number): Promise<string | undefined>;
}

export function createFileLinks({ db }: Pick<SandboxContext, 'db'>, secrets: PreviewSecrets): FileLinks {
  const keyOf = (id: string, version: number) => secrets.derive(`signing key ${id} ${version}`).toString('base64url');

  return {
    async signingKey(caller, idOrName) {
      const row = await findLiving(db, caller.organizationId, idOrName);
      return keyOf(row.id, row.signing_key_version);
    },
    async rotate(caller, idOrName) {
      const { id } = await findLiving(db, caller.organizationId, idOrName);
      const row = await db
        .updateTable('sandboxes')
        .set({ signing_key_version: sql`signing_key_version + 1` })
        .where('id', '=', id)
        .returning('signing_key_version')
        .executeTakeFirst();
      if (row === undefined) throw sandboxNotFound(idOrName);
      return keyOf(id, row.signing_key_version);
    },
    async ownerOf(sandboxId, file, now = Date.now()) {
      if (!isUuid(sandboxId) || !/^\d{1,12}$/.test(file.expires)) return undefined;
      const expires = Number(file.expires);
      if (expires !== 0 && expires * 1000 <= now) return undefined;
      const row = await db
        .selectFrom('sandboxes')
        .select(['id', 'organization_id', 'signing_key_version'])
        .where('id', '=', sandboxId)
        .executeTakeFirst();
      if (row === undefined) return undefined;
      const signature = fileSignature(keyOf(row.id, row.signing_key_version), file);
      return sameSecret(file.signature, signature) ? row.organization_id : undefined;
    },
  };
}

/** As the SDKs compute it. */
export function fileSignature(key: string, { method, path, expires }: Omit<SignedFile, 'signature'>): string {
  return `v1_${createHmac('sha256', key).update(`v1:files:${method}:${path}:${expires}`).digest('base64url')}`;
}
