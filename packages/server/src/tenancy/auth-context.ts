import type { Permission } from '@darkroom/contract';
import { DarkroomError } from '../platform/errors.ts';

/** Who a request speaks for. Made once from the API key; everything below trusts it. */
export interface AuthContext {
  readonly organizationId: string;
  readonly userId: string;
  readonly keyId: string;
  readonly permissions: ReadonlySet<Permission>;
  /** Keys of the machine's operator: may also do what concerns all organizations. */
  readonly isAdmin: boolean;
}

/** Raises `forbidden` unless the key holds one of the permissions. An admin key holds all. */
export function assertPermission(auth: AuthContext, ...anyOf: readonly Permission[]): void {
  if (auth.isAdmin || anyOf.some((permission) => auth.permissions.has(permission))) return;
  throw new DarkroomError('forbidden', 'Access denied');
}

/** How events and logs name the one who asked. */
export function actorOf(auth: AuthContext): string {
  return `key:${auth.keyId}`;
}
