import { invalidRequest } from '../platform/errors.ts';
import { parseImage } from './image.ts';
import type { SandboxRow } from './types.ts';

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** execve refuses one string of more than 128 KiB (MAX_ARG_STRLEN), and all of them together soon after. */
const MAX_ENTRY_BYTES = 128 * 1024 - 1;
const MAX_TOTAL_BYTES = 512 * 1024;

/** Refuses what no process could be given. */
export function checkEnvironment(env: Readonly<Record<string, string>>): void {
  let total = 0;
  for (const [name, value] of Object.entries(env)) {
    if (name === '') throw invalidRequest('The name of an environment variable is empty');
    if (name.includes('=') || name.includes('\0')) {
      throw invalidRequest(`Environment variable name ${JSON.stringify(name)} must not contain "=" or NUL`);
    }
    if (value.includes('\0')) throw invalidRequest(`Environment variable ${name} must not contain NUL`);
    const size = Buffer.byteLength(name) + Buffer.byteLength(value) + 2;
    if (size > MAX_ENTRY_BYTES) throw invalidRequest(`Environment variable ${name} is larger than 128 KiB`);
    total += size;
  }
  if (total > MAX_TOTAL_BYTES) throw invalidRequest('The environment variables together are larger than 512 KiB');
}

/** The environment of the sandbox's processes: the image's, the sandbox's over it, and who it is. */
export function sandboxEnvironment(
  row: Pick<SandboxRow, 'id' | 'snapshot_name' | 'user_name' | 'env' | 'image'>,
): Record<string, string> {
  const env: Record<string, string> = { PATH: DEFAULT_PATH };
  for (const entry of parseImage(row.image).env) {
    const at = entry.indexOf('=');
    if (at > 0) env[entry.slice(0, at)] = entry.slice(at + 1);
  }
  return {
    ...env,
    DAYTONA_SANDBOX_ID: row.id,
    DAYTONA_SANDBOX_SNAPSHOT: row.snapshot_name,
    DAYTONA_SANDBOX_USER: row.user_name,
    ...row.env,
  };
}
