import { z } from 'zod';
import type { ImageConfig } from '../images/types.ts';
import { DarkroomError } from '../platform/errors.ts';

const strings = z
  .array(z.string())
  .nullish()
  .transform((value) => value ?? []);

/** The image config as rows carry it. Parsed again, because the column is JSON that another version may have written. */
const imageSchema = z.object({
  env: strings,
  entrypoint: strings,
  cmd: strings,
  workingDir: z
    .string()
    .nullish()
    .transform((value) => value ?? ''),
  user: z
    .string()
    .nullish()
    .transform((value) => value ?? ''),
});

export type SandboxImage = Pick<ImageConfig, 'env' | 'entrypoint' | 'cmd' | 'workingDir' | 'user'>;

export function parseImage(value: unknown): SandboxImage {
  const parsed = imageSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new DarkroomError('internal', 'The image config of the sandbox cannot be read', { cause: parsed.error });
}
