import type { Permission, SandboxState, SnapshotState } from '@darkroom/contract';
import type { ColumnType, Generated, JSONColumnType } from 'kysely';

/** The tables as Kysely sees them. The SQL that makes them is in `migrations/`; int8 and numeric are read as numbers. */
export interface Database {
  organizations: OrganizationTable;
  users: UserTable;
  api_keys: ApiKeyTable;
  registries: RegistryTable;
  instances: InstanceTable;
  snapshots: SnapshotTable;
  sandboxes: SandboxTable;
  builds: BuildTable;
  build_steps: BuildStepTable;
  preview_links: PreviewLinkTable;
  ssh_accesses: SshAccessTable;
  events: EventTable;
  job_runs: JobRunTable;
  state_counts: StateCountTable;
  build_cache: BuildCacheTable;
  base_images: BaseImageTable;
  audit_logs: AuditLogTable;
  webhook_endpoints: WebhookEndpointTable;
  webhook_deliveries: WebhookDeliveryTable;
  garbage_marks: GarbageMarkTable;
  database_identity: DatabaseIdentityTable;
}

type Timestamp = ColumnType<Date, Date | string | undefined, Date | string>;
type NullableTimestamp = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;

export interface OrganizationTable {
  id: Generated<string>;
  name: string;
  default_region: Generated<string>;
  suspended_at: NullableTimestamp;
  suspension_reason: string | null;
  /** Most that one sandbox may ask for: cores, GiB, GiB. */
  max_cpu_per_sandbox: number;
  max_memory_per_sandbox: number;
  max_disk_per_sandbox: number;
  /** Snapshots in building, pending, pulling and active together. */
  snapshot_quota: number;
  /** GB, as the user sees sizes. */
  max_snapshot_size_gb: number;
  snapshot_deactivation_timeout_minutes: Generated<number>;
  /** A sandbox of an inactive snapshot activates it, where Daytona refuses. */
  activates_on_use: Generated<boolean>;
  /** All started sandboxes together. */
  total_cpu_quota: number;
  total_memory_quota: number;
  total_disk_quota: number;
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface UserTable {
  id: Generated<string>;
  name: string;
  created_at: Timestamp;
}

export interface ApiKeyTable {
  id: Generated<string>;
  organization_id: string;
  user_id: string;
  name: string;
  /** SHA-256 of the whole key; the key itself is shown once and never stored. */
  hash: Buffer;
  prefix: string;
  suffix: string;
  permissions: Permission[];
  is_admin: Generated<boolean>;
  created_at: Timestamp;
  last_used_at: NullableTimestamp;
  expires_at: NullableTimestamp;
}

export interface RegistryTable {
  id: Generated<string>;
  organization_id: string;
  name: string;
  url: string;
  username: string;
  /** AES-256-GCM under the key of the state directory (`platform/secrets.ts`). */
  password_encrypted: Buffer;
  project: Generated<string>;
  registry_type: Generated<string>;
  created_at: Timestamp;
  updated_at: Timestamp;
}

/** One row for each server process; its lease is the owner's lease of everything that names it in `owner_id`. */
export interface InstanceTable {
  id: string;
  runner_id: string;
  started_at: Timestamp;
  lease_expires_at: Timestamp;
}

export interface SnapshotTable {
  id: Generated<string>;
  organization_id: string;
  name: string;
  general: Generated<boolean>;
  state: SnapshotState;
  image_name: string | null;
  /** The reference with the digest that it was resolved to. */
  ref: string | null;
  entrypoint: string[] | null;
  cpu: number;
  gpu: Generated<number>;
  mem: number;
  disk: number;
  size_bytes: number | null;
  error_reason: string | null;
  error_code: string | null;
  region_id: string;
  sandbox_class: Generated<string>;
  runner_id: string | null;
  /** Of one that was captured, with what its sandbox was made from. */
  source_sandbox_id: string | null;
  parent_snapshot_id: string | null;
  /** Of a captured one: what it has beside its parent's files. */
  added_bytes: number | null;
  /** Of a snapshot that is built here. */
  build_id: string | null;
  /** diffIDs, base first. Set together with `active`. */
  layers: string[] | null;
  /** What a sandbox needs of the image config (`SnapshotImage` in `snapshots/types.ts`). */
  image: JSONColumnType<object | null, string | null | undefined, string | null>;
  created_at: Timestamp;
  updated_at: Timestamp;
  last_used_at: NullableTimestamp;
  /** A lock: it is neither deleted nor deactivated for not being used. */
  retain: Generated<boolean>;
  retain_reason: string | null;
  /** It is deleted then. */
  expires_at: NullableTimestamp;
  owner_id: string | null;
  state_entered_at: Timestamp;
  deadline_at: NullableTimestamp;
}

export interface SandboxTable {
  id: Generated<string>;
  organization_id: string;
  name: string;
  snapshot_id: string | null;
  snapshot_name: string;
  state: SandboxState;
  desired_state: string;
  error_reason: string | null;
  error_code: string | null;
  user_name: string;
  env: JSONColumnType<Record<string, string>, string, string>;
  labels: JSONColumnType<Record<string, string>, string, string>;
  is_public: Generated<boolean>;
  region_id: string;
  runner_id: string | null;
  cpu: number;
  gpu: Generated<number>;
  memory: number;
  disk: number;
  /** Minutes; 0 is off. */
  auto_stop_interval: number;
  auto_archive_interval: number;
  /** Minutes after stop; 0 deletes on stop, -1 is off. */
  auto_delete_interval: number;
  network_block_all: Generated<boolean>;
  network_allow_list: string | null;
  domain_allow_list: string | null;
  /** Of the key that URLs of files are signed with. */
  signing_key_version: Generated<number>;
  bandwidth_in_mbps: number | null;
  bandwidth_out_mbps: number | null;
  /** diffIDs, base first, and the image config: a sandbox outlives its snapshot, so it has its own copy. */
  layers: string[];
  image: JSONColumnType<object, string, string>;
  entrypoint: string[] | null;
  /** Of a sandbox that was made from an image or a Dockerfile. */
  build_id: string | null;
  /** Of one that was forked. */
  parent_id: string | null;
  created_at: Timestamp;
  updated_at: Timestamp;
  last_activity_at: Timestamp;
  stopped_at: NullableTimestamp;
  owner_id: string | null;
  state_entered_at: Timestamp;
  deadline_at: NullableTimestamp;
}

/** One run of a definition, for a snapshot or for a sandbox. */
export interface BuildTable {
  id: Generated<string>;
  organization_id: string;
  snapshot_id: string | null;
  sandbox_id: string | null;
  dockerfile: string;
  context_hashes: string[];
  /** What clients know the definition by. */
  snapshot_ref: string;
  /** `BuildOptions` of `builds/records.ts`. */
  options: JSONColumnType<object, string, string>;
  /** Sealed (`platform/secrets.ts`); gone when the build has ended. */
  secrets: Buffer | null;
  /** Null until it has ended. */
  outcome: 'succeeded' | 'failed' | 'cancelled' | null;
  /** `FailureRecord` of a build that failed. */
  failure: JSONColumnType<object | null, string | null | undefined, string | null>;
  /** How many servers have begun it. */
  starts: Generated<number>;
  created_at: Timestamp;
  updated_at: Timestamp;
  /** When it first had its turn. */
  started_at: NullableTimestamp;
  finished_at: NullableTimestamp;
}

export interface BuildStepTable {
  build_id: string;
  /** From 1. */
  number: number;
  stage: string;
  line: number;
  text: string;
  /** As it was last written: after the end of the build nothing runs or waits any more. */
  state: 'waiting' | 'running' | 'done' | 'cached' | 'failed' | 'skipped';
  cache: 'hit' | 'miss' | 'shared' | 'none' | null;
  cache_why: string | null;
  bytes: number | null;
  exit_code: number | null;
  started_at: NullableTimestamp;
  finished_at: NullableTimestamp;
}

/** A signed link to a port of a sandbox. */
export interface PreviewLinkTable {
  /** SHA-256 of the token, which is shown once and never stored. */
  hash: Buffer;
  sandbox_id: string;
  port: number;
  created_at: Timestamp;
  expires_at: Timestamp;
}

/** A login to a sandbox by SSH. */
export interface SshAccessTable {
  id: Generated<string>;
  /** SHA-256 of the token, which is shown once and never stored. */
  hash: Buffer;
  organization_id: string;
  sandbox_id: string;
  created_at: Timestamp;
  expires_at: Timestamp;
}

/** Who changed what, when and why: written in the transaction of the change. */
export interface EventTable {
  id: Generated<number>;
  organization_id: string;
  subject_type: 'snapshot' | 'sandbox';
  subject_id: string;
  /** Null of events that are older than the column. */
  subject_name: string | null;
  from_state: string | null;
  to_state: string;
  actor: string;
  reason: string | null;
  at: Timestamp;
  /** The transaction that wrote it: what readers go on from, with the id. */
  txid: Generated<number>;
}

/** Which process runs the job of a name and key. */
export interface JobRunTable {
  name: string;
  key: string;
  job_id: string;
  instance_id: string;
}

/** Rows per organization, subject and state, kept by triggers: list totals, quotas and metrics without a scan. */
export interface StateCountTable {
  organization_id: string;
  subject_type: 'snapshot' | 'sandbox';
  state: string;
  general: boolean;
  count: number;
}

/** What a step of a build gave, by what it depends on. */
export interface BuildCacheTable {
  organization_id: string;
  runner_id: string;
  /** SHA-256 of the parts. */
  key: Buffer;
  /** Null for a step that changed no file. */
  layer: string | null;
  size_bytes: number;
  /** What the key was made of: says what is different when the next one misses. */
  parts: JSONColumnType<Record<string, string>, string, string>;
  /** SHA-256 of the instruction as it is written. */
  text_digest: Buffer;
  build_id: string;
  /** The boot of the machine in which the layer was written; null when it is known to be on disk. */
  boot_id: string | null;
  created_at: Timestamp;
  last_used_at: Timestamp;
}

/** What a reference meant the last time that an organization built on it. */
export interface BaseImageTable {
  organization_id: string;
  runner_id: string;
  reference: string;
  platform: string;
  resolved: string;
  /** Ids of layers, base first. */
  layers: string[];
  /** `ImageConfig` of `images/types.ts`. */
  config: JSONColumnType<object, string, string>;
  size_bytes: number;
  resolved_at: Timestamp;
  last_used_at: Timestamp;
}

/** Who asked for a change, whatever came of it. */
export interface AuditLogTable {
  id: Generated<string>;
  /** The order of rows of the same time. */
  number: Generated<number>;
  organization_id: string;
  actor_id: string;
  key_id: string | null;
  key_prefix: string | null;
  key_suffix: string | null;
  action: string;
  target_type: string | null;
  target_id: string | null;
  status_code: number;
  error_message: string | null;
  ip_address: string | null;
  user_agent: string | null;
  source: string | null;
  metadata: JSONColumnType<object | null, string | null, string | null>;
  created_at: Timestamp;
}

export interface WebhookEndpointTable {
  id: Generated<string>;
  organization_id: string;
  url: string;
  description: Generated<string>;
  /** Null for all. */
  event_types: string[] | null;
  enabled: Generated<boolean>;
  /** Sealed (`platform/secrets.ts`). */
  secret: Buffer;
  /** Still signs until then, so that receivers can change over. */
  previous_secret: Buffer | null;
  previous_secret_until: NullableTimestamp;
  /** Since when every attempt has failed; null when the last one did not. */
  failing_since: NullableTimestamp;
  /** When it was switched off by itself, and why; null when it is on, or was switched off by a person. */
  disabled_at: NullableTimestamp;
  disabled_reason: Generated<string | null>;
  /** The last event that deliveries were made of. */
  cursor_txid: number;
  cursor_id: number;
  created_at: Timestamp;
  updated_at: Timestamp;
}

export interface WebhookDeliveryTable {
  id: Generated<string>;
  number: Generated<number>;
  endpoint_id: string;
  event_type: string;
  /** The bytes that are signed and sent. */
  payload: string;
  state: Generated<'pending' | 'delivered' | 'failed'>;
  attempts: Generated<number>;
  /** Null when nothing more will be tried. */
  next_attempt_at: NullableTimestamp;
  last_status: number | null;
  last_error: string | null;
  last_attempt_at: NullableTimestamp;
  created_at: Timestamp;
}

/** What a machine has and nothing needs any more (`garbage/marks.ts`). */
export interface GarbageMarkTable {
  runner_id: string;
  kind: string;
  id: string;
  reason: string;
  marked_at: Timestamp;
}

/** One row: which database this is (`database-id.ts`). */
export interface DatabaseIdentityTable {
  only_row: Generated<boolean>;
  id: Generated<string>;
}
