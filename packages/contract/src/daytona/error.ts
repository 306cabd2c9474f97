import { z } from 'zod';

/** Every error of `/api`. */
export const apiErrorSchema = z
  .object({
    path: z.string(),
    timestamp: z.iso.datetime(),
    statusCode: z.int(),
    /** The HTTP reason phrase. */
    error: z.string(),
    message: z.string(),
  })
  .meta({ id: 'ApiError' });
export type ApiErrorDto = z.infer<typeof apiErrorSchema>;
