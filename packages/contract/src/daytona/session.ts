import { z } from 'zod';
import { maybe } from '../text.ts';

export const createSessionRequestSchema = z.object({ sessionId: z.string() });

export const sessionExecuteRequestSchema = z.object({
  command: z.string(),
  runAsync: maybe(z.boolean()),
  /** What newer clients call `runAsync`. */
  async: maybe(z.boolean()),
  /** There is no terminal, so nothing is echoed in any case. */
  suppressInputEcho: maybe(z.boolean()),
});
export type SessionExecuteRequest = z.infer<typeof sessionExecuteRequestSchema>;

export const sessionInputRequestSchema = z.object({ data: z.string() });

export const sessionCommandSchema = z.object({
  id: z.string(),
  command: z.string(),
  /** Absent while it waits or runs. */
  exitCode: z.int().optional(),
});
export type SessionCommandDto = z.infer<typeof sessionCommandSchema>;

export const sessionSchema = z.object({ sessionId: z.string(), commands: z.array(sessionCommandSchema) });
export type SessionDto = z.infer<typeof sessionSchema>;

export const sessionLogsQuerySchema = z.object({ follow: maybe(z.enum(['true', 'false'])) });
