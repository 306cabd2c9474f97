import { DarkroomError, invalidRequest } from '../platform/errors.ts';
import type { ProcessUser, SandboxRuntime } from '../runtime/types.ts';
import { parseImage } from './image.ts';
import type { SandboxRow } from './types.ts';

/** What clients get that name no user. Images that Daytona's users made for themselves often have it; most do not. */
export const DEFAULT_USER = 'daytona';

/** Who runs in a sandbox, and where: looked up in its own files. */
export interface SandboxProfile {
  user: ProcessUser;
  workDir: string;
  /** Undefined when the image has no shell. */
  shell: string | undefined;
}

const SHELLS = ['/bin/bash', '/usr/bin/bash', '/bin/sh', '/usr/bin/sh'];

/** The user that was asked for; the image's own where nobody asked and there is no `daytona`. */
export async function sandboxUser(
  runtime: Pick<SandboxRuntime, 'resolveUser'>,
  row: Pick<SandboxRow, 'id' | 'user_name' | 'image'>,
): Promise<ProcessUser> {
  const asked = runtime.resolveUser(row.id, row.user_name);
  if (row.user_name !== DEFAULT_USER) {
    const user = await asked;
    if (user === undefined) throw invalidRequest(`User ${row.user_name} does not exist in the sandbox`);
    return user;
  }
  // Side by side: most images do not have the default user.
  const [user, fallback] = await Promise.allSettled([asked, imageUser(runtime, row)]);
  if (user.status === 'rejected') throw user.reason;
  if (user.value !== undefined) return user.value;
  if (fallback.status === 'rejected') throw fallback.reason;
  return fallback.value;
}

/** The image's USER, for the entry point. */
export async function imageUser(
  runtime: Pick<SandboxRuntime, 'resolveUser'>,
  row: Pick<SandboxRow, 'id' | 'image'>,
): Promise<ProcessUser> {
  const { user } = parseImage(row.image);
  const resolved = await runtime.resolveUser(row.id, user);
  if (resolved === undefined) throw invalidRequest(`The image's user ${user} does not exist in its passwd file`);
  return resolved;
}

export async function loadProfile(
  runtime: SandboxRuntime,
  row: Pick<SandboxRow, 'id' | 'user_name' | 'image'>,
): Promise<SandboxProfile> {
  const user = await sandboxUser(runtime, row);
  const workDir = await firstDirectory(runtime, row.id, [parseImage(row.image).workingDir, user.home]);
  return { user, workDir, shell: await firstProgram(runtime, row.id, SHELLS) };
}

/** `path` as a client gave it, from the work dir; `~` is the user's home. */
export function resolvePath(profile: Pick<SandboxProfile, 'user' | 'workDir'>, path: string): string {
  if (path.includes('\0')) throw invalidRequest('A path must not contain NUL');
  if (path.startsWith('/')) return path;
  if (path === '~' || path.startsWith('~/')) return `${profile.user.home}${path.slice(1)}`;
  return `${profile.workDir === '/' ? '' : profile.workDir}/${path}`;
}

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;

/** Whether there is a directory; other failures than its absence are raised. */
export async function isDirectory(runtime: SandboxRuntime, id: string, path: string): Promise<boolean> {
  const mode = await modeOf(runtime, id, path);
  return mode !== undefined && (mode & S_IFMT) === S_IFDIR;
}

async function modeOf(runtime: SandboxRuntime, id: string, path: string): Promise<number | undefined> {
  try {
    return (await runtime.files(id).stat(path)).mode;
  } catch (error) {
    const expected = ['not_found', 'forbidden', 'invalid_request'];
    if (error instanceof DarkroomError && expected.includes(error.code)) return undefined;
    throw error;
  }
}

async function firstDirectory(runtime: SandboxRuntime, id: string, paths: readonly string[]): Promise<string> {
  for (const path of paths) {
    if (path.startsWith('/') && (await isDirectory(runtime, id, path))) return path;
  }
  return '/';
}

async function firstProgram(
  runtime: SandboxRuntime,
  id: string,
  paths: readonly string[],
): Promise<string | undefined> {
  for (const path of paths) {
    const mode = await modeOf(runtime, id, path);
    if (mode !== undefined && (mode & S_IFMT) !== S_IFDIR && (mode & 0o111) !== 0) return path;
  }
  return undefined;
}
