import { z } from 'zod';
import { text } from '../text.ts';

/** What a snapshot or a sandbox was built from. */
export const buildInfoSchema = z
  .object({
    dockerfileContent: z.string().optional(),
    contextHashes: z.array(z.string()).optional(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    snapshotRef: z.string(),
  })
  .meta({ id: 'BuildInfo' });
export type BuildInfoDto = z.infer<typeof buildInfoSchema>;

/** The first two are Daytona's; the rest is ours, and may be left out. */
export const createBuildInfoSchema = z
  .object({
    dockerfileContent: text.min(1),
    contextHashes: z.array(text).nullish(),
    target: text.nullish().describe('The stage to build, by name or number; the last one without it.'),
    buildArgs: z
      .record(text, text)
      .nullish()
      .describe('Values of ARG. They can be seen in the image: no place for secrets.'),
    secrets: z
      .record(text, z.string())
      .nullish()
      .describe(
        'Values by id, for `RUN --mount=type=secret`. Kept encrypted until the build ends; in no layer and no log.',
      ),
    noCache: z.boolean().nullish().describe('Runs every step anew.'),
    cacheMaxAgeSeconds: z.number().min(0).nullish().describe('Runs steps anew whose results are older.'),
  })
  .meta({ id: 'CreateBuildInfo' });
export type CreateBuildInfoDto = z.infer<typeof createBuildInfoSchema>;

export const BUILD_STATES = ['waiting', 'running', 'succeeded', 'failed', 'cancelled'] as const;
export const BUILD_STEP_STATES = ['waiting', 'running', 'done', 'cached', 'failed', 'skipped'] as const;

export const buildStepSchema = z
  .object({
    number: z.int(),
    /** Of the stage: its name, or its number. */
    stage: z.string(),
    line: z.int(),
    /** The instruction as it is written. */
    text: z.string(),
    state: z.enum(BUILD_STEP_STATES),
    /** `shared`: another build that ran at the same time carried it out. */
    cache: z.enum(['hit', 'miss', 'shared', 'none']).nullable(),
    /** Why it was a miss. */
    cacheReason: z.string().nullable(),
    /** Of its layer. */
    bytes: z.number().nullable(),
    exitCode: z.int().nullable(),
    startedAt: z.iso.datetime().nullable(),
    finishedAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'BuildStep' });
export type BuildStepDto = z.infer<typeof buildStepSchema>;

export const buildFailureSchema = z
  .object({
    class: z.enum(['user', 'network', 'registry_auth', 'rate_limit', 'limit_exceeded', 'internal']),
    code: z.string(),
    message: z.string(),
    hint: z.string().nullable(),
    /** Whether the same build may succeed later without a change. */
    retryable: z.boolean(),
    step: z
      .object({
        number: z.int(),
        line: z.int(),
        text: z.string(),
        command: z.string().nullable(),
        exitCode: z.int().nullable(),
      })
      .nullable(),
    /** The last of what the step wrote, oldest first. */
    output: z.array(z.string()),
  })
  .meta({ id: 'BuildFailure' });
export type BuildFailureDto = z.infer<typeof buildFailureSchema>;

export const buildSchema = z
  .object({
    id: z.uuid(),
    snapshotId: z.uuid().nullable(),
    sandboxId: z.uuid().nullable(),
    state: z.enum(BUILD_STATES),
    snapshotRef: z.string(),
    dockerfileContent: z.string(),
    contextHashes: z.array(z.string()),
    target: z.string().nullable(),
    /** Names alone. */
    buildArgs: z.array(z.string()),
    noCache: z.boolean(),
    cacheMaxAgeSeconds: z.number().nullable(),
    createdAt: z.iso.datetime(),
    startedAt: z.iso.datetime().nullable(),
    finishedAt: z.iso.datetime().nullable(),
    failure: buildFailureSchema.nullable(),
    steps: z.array(buildStepSchema),
  })
  .meta({ id: 'Build' });
export type BuildDto = z.infer<typeof buildSchema>;

export const buildLogsUrlSchema = z.object({ url: z.url() }).meta({ id: 'BuildLogsUrl' });

export const buildLogsQuerySchema = z.object({
  follow: text.optional(),
  /** The first line that is wanted, counted from 0. */
  from: z.coerce.number().pipe(z.int().min(0)).optional(),
  /** `jsonl`: a JSON object a line, with step, stream and time. */
  format: z.enum(['text', 'jsonl']).optional(),
});

/** One line of the log, as `format=jsonl` and the events of a build have it. */
export const buildLogLineSchema = z
  .object({
    index: z.int(),
    at: z.iso.datetime(),
    step: z.int().nullable(),
    stream: z.enum(['stdout', 'stderr', 'note']),
    text: z.string(),
  })
  .meta({ id: 'BuildLogLine' });
export type BuildLogLineDto = z.infer<typeof buildLogLineSchema>;
