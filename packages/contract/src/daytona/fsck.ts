import { z } from 'zod';

/** Ours: the database against the disk. */
export const fsckRequestSchema = z
  .object({
    repair: z.boolean().default(false),
    /** `quick`: records and rows alone; `files`: all but the bytes of files; `bytes`: these too. */
    depth: z.enum(['quick', 'files', 'bytes']).default('files'),
  })
  .meta({ id: 'FsckRequest' });
export type FsckRequestDto = z.infer<typeof fsckRequestSchema>;

/** One line of the answer, which is newline-delimited JSON: any number of the first two, then the last. */
export const fsckLineSchema = z
  .discriminatedUnion('type', [
    z.object({
      type: z.literal('progress'),
      check: z.string(),
      title: z.string(),
      done: z.number(),
      total: z.number(),
    }),
    z.object({
      type: z.literal('finding'),
      kind: z.string(),
      id: z.string(),
      where: z.string(),
      problem: z.string(),
      /** What a repair does; null where only a person can help. */
      repair: z.string().nullable(),
      outcome: z.enum(['found', 'repaired', 'failed']),
      /** What was done, or why it could not be. */
      note: z.string().nullable(),
    }),
    z.object({
      type: z.literal('end'),
      findings: z.number(),
      repaired: z.number(),
      left: z.number(),
      seconds: z.number(),
    }),
    z.object({ type: z.literal('failed'), message: z.string() }),
  ])
  .meta({ id: 'FsckLine' });
export type FsckLineDto = z.infer<typeof fsckLineSchema>;
