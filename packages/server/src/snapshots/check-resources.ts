import { DarkroomError } from '../platform/errors.ts';
import type { OrganizationRow } from '../tenancy/organizations.ts';

const MORE =
  'Need higher resource limits per-sandbox? Who runs this server sets them for organizations it makes: quotas in its configuration.';

export interface Resources {
  cpu: number;
  gpu: number;
  /** GiB. */
  memory: number;
  disk: number;
}

export const DEFAULT_RESOURCES: Resources = { cpu: 1, gpu: 0, memory: 1, disk: 3 };

type Limits = Pick<OrganizationRow, 'max_cpu_per_sandbox' | 'max_memory_per_sandbox' | 'max_disk_per_sandbox'>;

/** What one sandbox may ask for. The messages are those that Daytona's clients know. */
export function checkResources(wanted: Resources, limits: Limits): void {
  if (wanted.gpu > 0) throw exceeded('GPU quota exceeded. Maximum allowed: 0.');
  if (wanted.cpu > limits.max_cpu_per_sandbox) {
    throw perSandbox(`CPU request ${wanted.cpu} exceeds maximum allowed per sandbox (${limits.max_cpu_per_sandbox}).`);
  }
  if (wanted.memory > limits.max_memory_per_sandbox) {
    throw perSandbox(
      `Memory request ${wanted.memory}GB exceeds maximum allowed per sandbox (${limits.max_memory_per_sandbox}GB).`,
    );
  }
  if (wanted.disk > limits.max_disk_per_sandbox) {
    throw perSandbox(
      `Disk request ${wanted.disk}GB exceeds maximum allowed per sandbox (${limits.max_disk_per_sandbox}GB).`,
    );
  }
}

const exceeded = (message: string) => new DarkroomError('quota_exceeded', message);
const perSandbox = (message: string) => exceeded(`${message}\n${MORE}`);
