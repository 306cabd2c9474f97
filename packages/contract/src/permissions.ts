import { z } from 'zod';

/** What an API key may do (Daytona's names). Unknown ones are refused when a key is made. */
export const PERMISSIONS = [
  'write:registries',
  'delete:registries',
  'write:snapshots',
  'delete:snapshots',
  'write:sandboxes',
  'delete:sandboxes',
  'read:volumes',
  'write:volumes',
  'delete:volumes',
  'write:regions',
  'delete:regions',
  'read:runners',
  'write:runners',
  'delete:runners',
  'read:audit_logs',
  'manage:api_keys',
  'manage:secrets',
  'read:limits',
  'manage:sso',
  'read:billing',
  'manage:billing',
] as const;

export const permissionSchema = z.enum(PERMISSIONS);
export type Permission = z.infer<typeof permissionSchema>;
