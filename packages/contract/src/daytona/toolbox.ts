import { z } from 'zod';
import { maybe } from '../text.ts';

/** Seconds; 0 and a missing one mean the server's own bound. */
const timeout = maybe(z.number().min(0).max(10_000_000));
const environment = maybe(z.record(z.string(), z.string()));

export const executeRequestSchema = z.object({
  command: z.string(),
  cwd: maybe(z.string()),
  envs: environment,
  timeout,
});
export type ExecuteRequest = z.infer<typeof executeRequestSchema>;

export const codeRunRequestSchema = z.object({
  code: z.string(),
  language: maybe(z.string()),
  argv: maybe(z.array(z.string())),
  envs: environment,
  timeout,
});
export type CodeRunRequest = z.infer<typeof codeRunRequestSchema>;

export const fileInfoSchema = z.object({
  name: z.string(),
  path: z.string(),
  size: z.number(),
  mode: z.string(),
  modTime: z.string(),
  modifiedAt: z.string(),
  isDir: z.boolean(),
  owner: z.string(),
  group: z.string(),
  permissions: z.string(),
});
export type FileInfoDto = z.infer<typeof fileInfoSchema>;

export const pathQuerySchema = z.object({ path: z.string().min(1, 'path is required') });
export const downloadFilesSchema = z.object({
  paths: z.array(z.string()).min(1, 'request body must be {paths: [..]} and non-empty').max(10_000),
});
export const directorySchema = z.object({ dir: z.string() });

export const systemMetricsSchema = z.object({
  timestamp: z.string(),
  timestampUnix: z.number(),
  cpuCount: z.number(),
  cpuUsedPct: z.number(),
  memTotal: z.number(),
  memUsed: z.number(),
  memCache: z.number(),
  diskTotal: z.number(),
  diskUsed: z.number(),
  diskFree: z.number(),
  'x-network-rx-bytes': z.number(),
  'x-network-tx-bytes': z.number(),
  'x-processes': z.number(),
  'x-oom-kills': z.number(),
});
