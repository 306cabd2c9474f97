import { z } from 'zod';

export const auditLogSchema = z
  .object({
    id: z.uuid(),
    actorId: z.string(),
    /** There are no addresses here: the name of the user. */
    actorEmail: z.string(),
    actorApiKeyPrefix: z.string().optional(),
    actorApiKeySuffix: z.string().optional(),
    organizationId: z.uuid().optional(),
    action: z.string(),
    targetType: z.string().optional(),
    targetId: z.string().optional(),
    statusCode: z.int().optional(),
    errorMessage: z.string().optional(),
    ipAddress: z.string().optional(),
    userAgent: z.string().optional(),
    source: z.string().optional(),
    metadata: z.record(z.string(), z.unknown()).optional(),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'AuditLog' });
export type AuditLogDto = z.infer<typeof auditLogSchema>;

export const auditLogPageSchema = z
  .object({
    items: z.array(auditLogSchema),
    total: z.int(),
    page: z.int(),
    totalPages: z.int(),
    nextToken: z.string().optional(),
  })
  .meta({ id: 'PaginatedAuditLogs' });

const time = z.iso.datetime({ offset: true });

/** Besides these: `FIELD`, `FIELD[eq]`, `FIELD[not]`, `FIELD[in]`, `FIELD[notIn]`, and `createdAt[gte]`, `createdAt[lte]`. */
export const listAuditQuerySchema = z.looseObject({
  page: z.coerce.number().pipe(z.int().min(1).max(100_000)).default(1),
  limit: z.coerce.number().pipe(z.int().min(1).max(200)).default(100),
  from: time.optional(),
  to: time.optional(),
  'createdAt[gte]': time.optional(),
  'createdAt[lte]': time.optional(),
  nextToken: z.string().max(100).optional(),
});

export const auditScenariosSchema = z
  .object({ targets: z.array(z.object({ targetType: z.string(), actions: z.array(z.string()) })) })
  .meta({ id: 'AuditScenarios' });
