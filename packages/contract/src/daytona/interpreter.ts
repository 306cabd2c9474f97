import { z } from 'zod';
import { maybe } from '../text.ts';

export const interpreterContextRequestSchema = maybe(z.object({ cwd: maybe(z.string()), language: maybe(z.string()) }));

export const interpreterContextSchema = z.object({
  id: z.string(),
  cwd: z.string(),
  language: z.string(),
  createdAt: z.string(),
  active: z.boolean(),
});
export type InterpreterContextDto = z.infer<typeof interpreterContextSchema>;

export const interpreterContextListSchema = z.object({ contexts: z.array(interpreterContextSchema) });

/** The first message of a client that wants code to be run. */
export const interpreterExecuteSchema = z.object({
  code: z.string(),
  contextId: maybe(z.string()),
  envs: maybe(z.record(z.string(), z.string())),
  timeout: maybe(z.number().min(0).max(10_000_000)),
});
