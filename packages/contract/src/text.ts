import { z } from 'zod';

export const STORABLE = 'Text must not contain NUL characters or broken Unicode';

/** What PostgreSQL keeps as text and in JSON: no NUL, and no half of a surrogate pair. */
export const text = z.string().refine((value) => !value.includes('\0') && value.isWellFormed(), { error: STORABLE });

/** Clients of other languages send null where JavaScript leaves a member out. */
export const maybe = <T extends z.ZodType>(schema: T) => schema.nullish().transform((value) => value ?? undefined);
