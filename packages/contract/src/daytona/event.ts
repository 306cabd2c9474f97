import { z } from 'zod';

/** Who changed what, when and why. Ours: Daytona has no such route. */
export const lifecycleEventSchema = z
  .object({
    /** Its place; `after` and `Last-Event-ID` take it. */
    id: z.string(),
    timestamp: z.iso.datetime(),
    organizationId: z.uuid(),
    subjectType: z.enum(['snapshot', 'sandbox']),
    subjectId: z.uuid(),
    subjectName: z.string().nullable(),
    /** Null where it was made. */
    oldState: z.string().nullable(),
    newState: z.string(),
    /** `key:ID` of who asked, or the part of the server that did it. */
    actor: z.string(),
    reason: z.string().nullable(),
  })
  .meta({ id: 'LifecycleEvent' });
export type LifecycleEventDto = z.infer<typeof lifecycleEventSchema>;

/** Oldest first. `next` is there when there may be more: it is the `after` of the next page. */
export const lifecycleEventPageSchema = z
  .object({ items: z.array(lifecycleEventSchema), next: z.string().optional() })
  .meta({ id: 'LifecycleEventPage' });
export type LifecycleEventPageDto = z.infer<typeof lifecycleEventPageSchema>;

export const listEventsQuerySchema = z.object({
  after: z.string().max(40).optional(),
  limit: z.coerce.number().pipe(z.int().min(1).max(200)).default(100),
});
