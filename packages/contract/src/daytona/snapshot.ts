import { z } from 'zod';
import { SNAPSHOT_STATES } from '../states.ts';
import { text } from '../text.ts';
import { buildInfoSchema, createBuildInfoSchema } from './build.ts';

export const snapshotStateSchema = z.enum(SNAPSHOT_STATES).meta({ id: 'SnapshotState' });

/** Clients in Go and Python refuse an object without one of the required keys, so nullable ones are always there. */
export const snapshotSchema = z
  .object({
    id: z.uuid(),
    organizationId: z.uuid().optional(),
    general: z.boolean(),
    name: z.string(),
    imageName: z.string().optional(),
    state: snapshotStateSchema,
    /** GB, fractional. */
    size: z.number().nullable(),
    entrypoint: z.array(z.string()).nullable(),
    cpu: z.number(),
    gpu: z.number(),
    /** GiB; the name is `mem` here and `memory` in sandboxes. */
    mem: z.number(),
    disk: z.number(),
    errorReason: z.string().nullable(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    lastUsedAt: z.iso.datetime().nullable(),
    buildInfo: buildInfoSchema.optional(),
    regionIds: z.array(z.string()).optional(),
    initialRunnerId: z.string().optional(),
    ref: z.string().optional(),
    sandboxClass: z.string().optional(),
    /** Ours, of one that was captured: what its sandbox was made from, and the GB that it has beside that. */
    parentSnapshotId: z.string().optional(),
    addedSize: z.number().optional(),
    sourceSandboxId: z.string().nullable(),
    /** Ours, and there only when it is set: a lock, that neither a delete nor time goes past. */
    retain: z.boolean().optional(),
    retainReason: z.string().optional(),
    /** Ours: it is deleted then. */
    expiresAt: z.iso.datetime().optional(),
  })
  .meta({ id: 'Snapshot' });
export type SnapshotDto = z.infer<typeof snapshotSchema>;

export const snapshotPageSchema = z
  .object({ items: z.array(snapshotSchema), total: z.int(), page: z.int(), totalPages: z.int() })
  .meta({ id: 'PaginatedSnapshots' });
export type SnapshotPageDto = z.infer<typeof snapshotPageSchema>;

/** Markup, addresses and control characters have no place in what other people's screens show. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const UNSAFE_NAME = /<[^<>]*>|[\x00-\x1f\x7f]|:\/\/|(^|[^\w.-])www\.|^(javascript|data|mailto|tel):/i;

const resource = z.number().min(0).nullish();

/** As much as a sandbox's environment may have; execve takes no more of both than 2 MiB. */
const MAX_ENTRYPOINT_LENGTH = 512 * 1024;
const entrypoint = z
  .array(text)
  .refine((words) => words.reduce((total, word) => total + word.length + 1, 0) <= MAX_ENTRYPOINT_LENGTH, {
    error: `entrypoint is longer than ${MAX_ENTRYPOINT_LENGTH} characters`,
  });

const snapshotName = z.string().refine((name) => !UNSAFE_NAME.test(name), {
  error: 'name must not contain HTML tags, URLs, or control characters',
});

/** The body of `POST /sandbox/{id}/snapshot`. */
export const captureSandboxSchema = z.object({
  name: snapshotName,
  /** Of virtual machines only. */
  includeMemory: z.boolean().nullish(),
});

export const createSnapshotSchema = z
  .object({
    name: snapshotName,
    imageName: text.nullish(),
    entrypoint: entrypoint.nullish(),
    cpu: resource,
    gpu: z.number().min(0).max(1).nullish(),
    gpuType: z.union([z.string(), z.array(z.string()).min(1)]).nullish(),
    /** GiB. */
    memory: resource,
    disk: resource,
    buildInfo: createBuildInfoSchema.nullish(),
    regionId: text.nullish(),
    sandboxClass: z.enum(['container', 'gvisor', 'linux-vm', 'android', 'windows']).nullish(),
  })
  .meta({ id: 'CreateSnapshot' });
export type CreateSnapshotDto = z.infer<typeof createSnapshotSchema>;

const relative = z.object({ id: z.uuid(), name: z.string(), state: z.string() });

export const lineageQuerySchema = z.object({
  page: z.coerce.number().pipe(z.int().min(1)).default(1),
  limit: z.coerce.number().pipe(z.int().min(1).max(200)).default(100),
});

/** Ours: what a snapshot is related to, as far as it still exists. */
export const snapshotLineageSchema = z
  .object({
    parent: relative.nullable(),
    sourceSandbox: relative.nullable(),
    buildId: z.string().nullable(),
    /** One page of each. */
    children: z.array(relative),
    childrenTotal: z.number(),
    sandboxes: z.array(relative),
    sandboxesTotal: z.number(),
  })
  .meta({ id: 'SnapshotLineage' });

export const SNAPSHOT_SORT_FIELDS = ['name', 'state', 'lastUsedAt', 'createdAt'] as const;

export const listSnapshotsQuerySchema = z.object({
  page: z.coerce.number().pipe(z.int().min(1)).default(1),
  limit: z.coerce.number().pipe(z.int().min(1).max(200)).default(100),
  /** Case-insensitive part of the name. */
  name: text.optional(),
  sourceSandboxId: text.optional(),
  sort: z.enum(SNAPSHOT_SORT_FIELDS).default('lastUsedAt'),
  order: z.enum(['asc', 'desc']).default('desc'),
});
export type ListSnapshotsQuery = z.infer<typeof listSnapshotsQuerySchema>;

export const setGeneralSchema = z.object({ general: z.boolean() }).meta({ id: 'SetSnapshotGeneral' });

/** Ours: how long a snapshot stays. */
export const updateSnapshotSchema = z
  .object({
    retain: z.boolean().optional(),
    retainReason: text.max(500).nullish(),
    expiresAt: z.iso.datetime({ offset: true }).nullish(),
  })
  .meta({ id: 'UpdateSnapshot' });
