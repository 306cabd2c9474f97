import { z } from 'zod';
import { maybe, STORABLE, text } from '../text.ts';
import { buildInfoSchema, createBuildInfoSchema } from './build.ts';

/** Every state that clients know; more than Darkroom has today. */
export const daytonaSandboxStates = [
  'creating',
  'restoring',
  'destroyed',
  'destroying',
  'started',
  'stopped',
  'starting',
  'stopping',
  'error',
  'build_failed',
  'pending_build',
  'building_snapshot',
  'unknown',
  'pulling_snapshot',
  'archived',
  'archiving',
  'resizing',
  'snapshotting',
  'forking',
  'pausing',
  'paused',
  'resuming',
] as const;

const stringMap = z.record(z.string(), z.string());

const sandboxCommon = {
  id: z.string(),
  organizationId: z.string(),
  name: z.string(),
  snapshot: z.string().optional(),
  user: z.string(),
  labels: stringMap,
  public: z.boolean(),
  networkBlockAll: z.boolean(),
  networkAllowList: z.string().optional(),
  domainAllowList: z.string().optional(),
  /** Ours, not Daytona's. Megabits a second to and from the sandbox, where they are not the server's default. */
  bandwidthMbps: z.object({ in: z.number().optional(), out: z.number().optional() }).optional(),
  target: z.string(),
  cpu: z.number(),
  gpu: z.number(),
  memory: z.number(),
  disk: z.number(),
  state: z.enum(daytonaSandboxStates),
  desiredState: z.string(),
  errorReason: z.string().optional(),
  recoverable: z.boolean(),
  backupState: z.string(),
  autoStopInterval: z.number(),
  autoArchiveInterval: z.number(),
  autoDeleteInterval: z.number(),
  createdAt: z.string(),
  updatedAt: z.string(),
  lastActivityAt: z.string(),
  sandboxClass: z.string(),
  runnerId: z.string().optional(),
  toolboxProxyUrl: z.string(),
};

export const sandboxListItemSchema = z.object(sandboxCommon);
export type SandboxListItemDto = z.infer<typeof sandboxListItemSchema>;

/** `kvm` and `spot` are required by the newest clients and unknown to the older ones. */
export const sandboxSchema = z.object({
  ...sandboxCommon,
  env: stringMap,
  /** Of a sandbox that was made from an image or a Dockerfile; it has no `snapshot` then. */
  buildInfo: buildInfoSchema.optional(),
  volumes: z.array(z.unknown()),
  kvm: z.boolean(),
  spot: z.boolean(),
});
export type SandboxDto = z.infer<typeof sandboxSchema>;

export const sandboxListSchema = z.object({
  items: z.array(sandboxListItemSchema),
  nextCursor: z.string().nullable(),
});

const amount = z.number().min(0).max(1_000_000);
const minutes = z.int().max(10 * 365 * 24 * 60);
/** JSON of the database keeps no broken Unicode; about NUL the rules say which name or value it is in. */
const givenMap = stringMap.refine(
  (map) =>
    Object.entries(map)
      .flat()
      .every((part) => part.isWellFormed()),
  { error: STORABLE },
);

/** Ours: 0 is without a limit, null the server's default. */
const bandwidth = z.object({ in: z.number().nullish(), out: z.number().nullish() }).nullish();

export const createSandboxSchema = z.object({
  name: maybe(z.string().max(255)),
  snapshot: maybe(z.string().max(500)),
  buildInfo: maybe(createBuildInfoSchema),
  user: maybe(z.string().max(256)),
  env: maybe(givenMap),
  labels: maybe(givenMap),
  public: maybe(z.boolean()),
  target: maybe(z.string()),
  cpu: maybe(amount),
  gpu: maybe(amount),
  gpuType: maybe(z.array(z.string())),
  memory: maybe(amount),
  disk: maybe(amount),
  autoStopInterval: maybe(minutes.min(0)),
  autoArchiveInterval: maybe(minutes.min(0)),
  autoDeleteInterval: maybe(minutes),
  volumes: maybe(z.array(z.object({ volumeId: z.string(), mountPath: z.string() }))),
  networkBlockAll: maybe(z.boolean()),
  networkAllowList: maybe(z.string()),
  domainAllowList: maybe(z.string()),
  bandwidthMbps: bandwidth,
  linkedSandbox: maybe(z.string()),
  ttlMinutes: maybe(z.number()),
  autoPauseInterval: maybe(z.number()),
  secrets: maybe(z.array(z.unknown())),
  outboundProxyUrl: maybe(z.string()),
});
export type CreateSandboxBody = z.infer<typeof createSandboxSchema>;

export const forkSandboxSchema = z.object({ name: maybe(z.string().max(255)) });

export const forksQuerySchema = z.object({ includeDestroyed: maybe(z.enum(['true', 'false'])) });

/** Ours: several at once, each with a name and an environment of its own over its parent's. */
export const forkManySchema = z.object({
  children: z
    .array(z.object({ name: maybe(z.string().max(255)), env: maybe(givenMap) }))
    .min(1)
    .max(100),
});

export const sandboxLabelsSchema = z.object({ labels: givenMap });

export const networkSettingsSchema = z.object({
  networkBlockAll: maybe(z.boolean()),
  /** Null takes the list away, as an empty text does. */
  networkAllowList: z.string().nullish(),
  domainAllowList: z.string().nullish(),
  bandwidthMbps: bandwidth,
});

/** Query strings: one value or many of the same name. */
const many = z.union([text.transform((value) => [value]), z.array(text)]).optional();
const flag = z.enum(['true', 'false']).transform((value) => value === 'true');
const bound = z.coerce.number().optional();
const instant = z.iso
  .datetime({ offset: true })
  .transform((value) => new Date(value))
  .optional();

export const listSandboxesQuerySchema = z.object({
  cursor: text.max(2000).optional(),
  limit: z.coerce.number().int().min(1).max(200).optional(),
  id: text.optional(),
  name: text.optional(),
  labels: text.max(20_000).optional(),
  includeErroredDeleted: flag.optional(),
  states: many,
  snapshots: many,
  regionIds: many,
  sandboxClasses: many,
  minCpu: bound,
  maxCpu: bound,
  minMemoryGiB: bound,
  maxMemoryGiB: bound,
  minDiskGiB: bound,
  maxDiskGiB: bound,
  isPublic: flag.optional(),
  isRecoverable: flag.optional(),
  createdAtAfter: instant,
  createdAtBefore: instant,
  lastEventAfter: instant,
  lastEventBefore: instant,
  sort: z.enum(['name', 'cpu', 'memoryGib', 'diskGib', 'lastActivityAt', 'createdAt']).optional(),
  order: z.enum(['asc', 'desc']).optional(),
});
export type ListSandboxesQuery = z.infer<typeof listSandboxesQuerySchema>;

/** Cores, GiB, GiB; what is absent or null stays. */
export const resizeSandboxSchema = z.object({
  cpu: maybe(z.number()),
  memory: maybe(z.number()),
  disk: maybe(z.number()),
});
