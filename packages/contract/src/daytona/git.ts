import { z } from 'zod';
import { maybe } from '../text.ts';

const path = z.string().min(1, 'path is required');
/** Clients send an empty text where they mean none. */
const optional = z
  .string()
  .nullish()
  .transform((value) => value || undefined);
const flag = maybe(z.boolean()).transform((value) => value ?? false);
const files = z.array(z.string()).max(100_000);
const credentials = { username: optional, password: optional };
const scoped = { path: optional, scope: optional };

export const gitPathQuerySchema = z.object({ path });
export const gitAddSchema = z.object({ path, files });
export const gitCloneSchema = z.object({
  path,
  url: z.string().min(1, 'url is required'),
  branch: optional,
  commit_id: optional,
  depth: maybe(z.int().min(0)).transform((value) => value || undefined),
  insecure_skip_tls: flag,
  ...credentials,
});
export const gitCommitSchema = z.object({
  path,
  message: z.string(),
  author: z.string(),
  email: z.string(),
  allow_empty: flag,
});
export const gitCommitResponseSchema = z.object({ hash: z.string() });
export const gitBranchSchema = z.object({ path, name: z.string() });
export const gitCheckoutSchema = z.object({ path, branch: z.string() });
export const gitPullSchema = z.object({ path, branch: optional, remote: optional, ...credentials });
export const gitPushSchema = gitPullSchema.extend({ set_upstream: flag });
export const gitInitSchema = z.object({ path, bare: flag, initial_branch: optional });
export const gitResetSchema = z.object({ path, mode: optional, target: optional, files: maybe(files) });
export const gitRestoreSchema = z.object({ path, files, staged: flag, worktree: flag, source: optional });
export const gitAddRemoteSchema = z.object({ path, name: z.string(), url: z.string(), fetch: flag, overwrite: flag });
export const gitSetConfigSchema = z.object({ key: z.string(), value: z.string(), ...scoped });
export const gitGetConfigQuerySchema = z.object({ key: z.string().min(1, 'key is required'), ...scoped });
export const gitConfigureUserSchema = z.object({ name: z.string(), email: z.string(), ...scoped });
export const gitAuthenticateSchema = z.object({
  username: z.string(),
  password: z.string(),
  host: optional,
  protocol: optional,
});

const fileStatus = z.enum([
  'Unmodified',
  'Untracked',
  'Modified',
  'Added',
  'Deleted',
  'Renamed',
  'Copied',
  'Updated but unmerged',
]);
export const gitStatusSchema = z.object({
  currentBranch: z.string(),
  detached: z.boolean(),
  upstream: z.string(),
  branchPublished: z.boolean(),
  ahead: z.int(),
  behind: z.int(),
  fileStatus: z.array(z.object({ name: z.string(), extra: z.string(), staging: fileStatus, worktree: fileStatus })),
});
export const gitHistorySchema = z.array(
  z.object({ hash: z.string(), author: z.string(), email: z.string(), message: z.string(), timestamp: z.string() }),
);
export const gitBranchesSchema = z.object({ branches: z.array(z.string()), current: z.string() });
export const gitRemotesSchema = z.object({ remotes: z.array(z.object({ name: z.string(), url: z.string() })) });
/** Null where it is not set. */
export const gitConfigSchema = z.object({ value: z.string().nullable() });
