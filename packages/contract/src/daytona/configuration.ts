import { z } from 'zod';

const rateLimitEntrySchema = z.object({ ttl: z.number().optional(), limit: z.number().optional() });

export const configurationSchema = z
  .object({
    version: z.string(),
    oidc: z.object({ issuer: z.string(), clientId: z.string(), audience: z.string() }),
    linkedAccountsEnabled: z.boolean(),
    announcements: z.record(z.string(), z.unknown()),
    proxyTemplateUrl: z.string(),
    proxyToolboxUrl: z.string(),
    defaultSnapshot: z.string(),
    dashboardUrl: z.string(),
    maxAutoArchiveInterval: z.number(),
    /** Spelled so on the wire. */
    maintananceMode: z.boolean(),
    environment: z.string(),
    sshGatewayCommand: z.string().optional(),
    /** Base64 of the line that OpenSSH calls a public key. */
    sshGatewayPublicKey: z.string().optional(),
    rateLimit: z
      .object({
        failedAuth: rateLimitEntrySchema.optional(),
        authenticated: rateLimitEntrySchema.optional(),
        sandboxCreate: rateLimitEntrySchema.optional(),
        sandboxLifecycle: rateLimitEntrySchema.optional(),
      })
      .optional(),
  })
  .meta({ id: 'DaytonaConfiguration' });
export type ConfigurationDto = z.infer<typeof configurationSchema>;
