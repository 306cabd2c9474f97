import { z } from 'zod';
import { maybe } from '../text.ts';

/** 0 and a missing one mean the usual. */
const side = z.int().min(0).max(1000);

export const ptyCreateRequestSchema = z.object({
  id: maybe(z.string()),
  cwd: maybe(z.string()),
  envs: maybe(z.record(z.string(), z.string())),
  cols: maybe(side),
  rows: maybe(side),
  lazyStart: maybe(z.boolean()),
});
export type PtyCreateRequest = z.infer<typeof ptyCreateRequestSchema>;

export const ptyConnectQuerySchema = z.object({
  id: z.string().optional(),
  cwd: z.string().optional(),
  cols: z.coerce.number().pipe(side).optional(),
  rows: z.coerce.number().pipe(side).optional(),
});

export const ptyResizeRequestSchema = z.object({ cols: z.int().min(1).max(1000), rows: z.int().min(1).max(1000) });

export const ptyCreatedSchema = z.object({ sessionId: z.string() });

export const ptySessionSchema = z.object({
  id: z.string(),
  cwd: z.string(),
  envs: z.record(z.string(), z.string()),
  cols: z.number(),
  rows: z.number(),
  createdAt: z.string(),
  lazyStart: z.boolean(),
  active: z.boolean(),
});
export type PtySession = z.infer<typeof ptySessionSchema>;

export const ptyListSchema = z.object({ sessions: z.array(ptySessionSchema) });
