import { PERMISSIONS, type Permission } from '@darkroom/contract';
import type { Kysely } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import { generateKey } from '../tenancy/api-key.ts';

export interface KeyOptions {
  permissions?: readonly Permission[];
  isAdmin?: boolean;
  expiresAt?: Date;
}

/** A new key of a new user; with all permissions, unless it says otherwise. */
export async function addKey(db: Kysely<Database>, organizationId: string, options: KeyOptions = {}): Promise<string> {
  const { value, ...stored } = generateKey();
  const user = await db.insertInto('users').values({ name: 'tester' }).returning('id').executeTakeFirstOrThrow();
  const columns = {
    organization_id: organizationId,
    user_id: user.id,
    name: 'test',
    permissions: [...(options.permissions ?? PERMISSIONS)],
    is_admin: options.isAdmin ?? false,
    expires_at: options.expiresAt ?? null,
  };
  await db
    .insertInto('api_keys')
    .values({ ...columns, ...stored })
    .execute();
  return value;
}
