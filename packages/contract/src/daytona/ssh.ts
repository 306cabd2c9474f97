import { z } from 'zod';

export const sshAccessQuerySchema = z.object({ expiresInMinutes: z.coerce.number().optional() });
export const sshAccessTokenQuerySchema = z.object({ token: z.string().min(1).optional() });
export const sshAccessValidationQuerySchema = z.object({ token: z.string() });

const time = z.iso.datetime();
export const sshAccessSchema = z
  .object({
    id: z.string(),
    sandboxId: z.string(),
    token: z.string(),
    expiresAt: time,
    createdAt: time,
    updatedAt: time,
    sshCommand: z.string(),
  })
  .meta({ id: 'SshAccessDto' });
export const sshAccessValidationSchema = z
  .object({ valid: z.boolean(), sandboxId: z.string() })
  .meta({ id: 'SshAccessValidationDto' });
