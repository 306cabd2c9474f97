import { z } from 'zod';

/** Ours: what garbage collection would take, and why. */
export const gcItemSchema = z
  .object({
    kind: z.enum(['layer', 'context', 'build-log']),
    id: z.string(),
    organizationId: z.uuid().optional(),
    sizeBytes: z.number().optional(),
    /** With the next sweep, when the disk or a limit is full, or not as long as something under way may need it. */
    goes: z.enum(['sweep', 'pressure', 'held']),
    why: z.string(),
  })
  .meta({ id: 'GcItem' });

export const gcPlanSchema = z.object({ items: z.array(gcItemSchema) }).meta({ id: 'GcPlan' });
export type GcPlanDto = z.infer<typeof gcPlanSchema>;
