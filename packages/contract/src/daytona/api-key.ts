import { z } from 'zod';
import { permissionSchema } from '../permissions.ts';
import { text } from '../text.ts';

const apiKeyBase = {
  name: z.string(),
  /** Masked, except in the one answer that made the key. */
  value: z.string(),
  createdAt: z.iso.datetime(),
  permissions: z.array(permissionSchema),
  expiresAt: z.iso.datetime().nullable(),
};

export const newApiKeySchema = z.object(apiKeyBase).meta({ id: 'ApiKeyResponse' });
export type NewApiKeyDto = z.infer<typeof newApiKeySchema>;

export const apiKeySchema = z
  .object({ ...apiKeyBase, lastUsedAt: z.iso.datetime().nullable(), userId: z.string() })
  .meta({ id: 'ApiKeyList' });
export type ApiKeyDto = z.infer<typeof apiKeySchema>;

export const createApiKeySchema = z
  .object({
    name: text.min(1).max(255),
    permissions: z.array(permissionSchema).max(100),
    expiresAt: z.iso.datetime({ offset: true }).nullish(),
  })
  .meta({ id: 'CreateApiKey' });
