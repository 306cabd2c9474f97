import { z } from 'zod';

/** Ours: what garbage collection would take, and why. */
export const gcItemSchema = z
  .object({
    kind: z.enum([
      'layer',
      'damaged-layer',
      'staging',
      'build-cache',
      'base-image',
      'cache-mount',
      'context',
      'context-tree',
      'upload',
      'build-log',
      'entrypoint-log',
      'spool-file',
      'sandbox',
      'old-rows',
    ]),
    id: z.string(),
    organizationId: z.string().optional(),
    sizeBytes: z.number().optional(),
    /**
     * With the next sweep, with one after its grace, when the disk or a limit is full, or not as long as something under way may
     * need it.
     */
    goes: z.enum(['sweep', 'grace', 'pressure', 'held']),
    why: z.string(),
  })
  .meta({ id: 'GcItem' });

export const gcPlanSchema = z.object({ items: z.array(gcItemSchema) }).meta({ id: 'GcPlan' });
export type GcPlanDto = z.infer<typeof gcPlanSchema>;
export type GcItemDto = z.infer<typeof gcItemSchema>;

export const collectGarbageSchema = z
  .object({
    /** What nothing needs goes at once. What is held stays all the same. */
    withoutGrace: z.boolean().default(false),
  })
  .meta({ id: 'CollectGarbage' });

/** What went, and for people what could not be swept. */
export const collectedSchema = z
  .object({ items: z.array(gcItemSchema), failures: z.array(z.string()) })
  .meta({ id: 'CollectedGarbage' });

export const clearedCacheSchema = z.object({ removed: z.int() }).meta({ id: 'ClearedCache' });
