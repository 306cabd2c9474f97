import { z } from 'zod';
import { maybe } from '../text.ts';

const path = z.string().min(1, 'path is required');
/** Query values of different languages' clients. */
const flag = z
  .string()
  .regex(/^(true|false|1|0|)$/i, 'recursive must be true or false')
  .optional()
  .transform((value) => value === '1' || value?.toLowerCase() === 'true');
const mode = z
  .string()
  .regex(/^(0o?)?[0-7]{1,4}$/, 'mode must be octal, for example 755')
  .transform((value) => Number.parseInt(value.replace(/^0o/, ''), 8));
const optional = <T extends z.ZodType>(schema: T) =>
  z.preprocess((value) => (value === '' ? undefined : value), schema.optional());

export const listFilesQuerySchema = z.object({
  /** The work dir when it is left out. */
  path: z.string().default(''),
  depth: z.coerce.number().int('depth must be an integer').min(1).max(512).default(1),
});
export const makeFolderQuerySchema = z.object({ path, mode: optional(mode) });
export const deleteFileQuerySchema = z.object({ path, recursive: flag });
export const moveFileQuerySchema = z.object({
  source: z.string().min(1, 'source is required'),
  destination: z.string().min(1, 'destination is required'),
});
export const filePermissionsQuerySchema = z.object({
  path,
  owner: optional(z.string().max(256)),
  group: optional(z.string().max(256)),
  mode: optional(mode),
});
export const filePatternQuerySchema = z.object({
  path,
  pattern: z.string().min(1, 'pattern is required').max(4096),
});

export const searchFilesSchema = z.object({ files: z.array(z.string()) });
export type SearchFilesDto = z.infer<typeof searchFilesSchema>;
export const fileMatchSchema = z.object({ file: z.string(), line: z.number(), content: z.string() });
export type FileMatchDto = z.infer<typeof fileMatchSchema>;

export const replaceRequestSchema = z.object({
  files: z.array(z.string().min(1)).max(10_000),
  pattern: z
    .string()
    .min(1, 'pattern is required')
    .max(1024 * 1024),
  newValue: maybe(z.string().max(1024 * 1024)).transform((value) => value ?? ''),
});
export const replaceResultSchema = z.object({
  file: z.string(),
  success: z.boolean(),
  error: z.string().optional(),
});
export type ReplaceResultDto = z.infer<typeof replaceResultSchema>;
