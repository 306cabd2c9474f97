import { conflict } from '../platform/errors.ts';
import type { CreateRequest } from './create-request.ts';
import { networkColumns } from './network-policy.ts';
import { DEFAULT_USER } from './profile.ts';
import type { Caller, SandboxContext } from './types.ts';

const DEFAULT_AUTO_STOP_MINUTES = 15;
const DEFAULT_AUTO_ARCHIVE_MINUTES = 7 * 24 * 60;
const AUTO_DELETE_OFF = -1;

/** What a new sandbox's row has from its request alone, whatever it is made from. */
export function requestedColumns(context: SandboxContext, caller: Caller, request: CreateRequest) {
  return {
    organization_id: caller.organizationId,
    user_name: request.user || DEFAULT_USER,
    desired_state: 'started',
    env: JSON.stringify(request.env ?? {}),
    labels: JSON.stringify(request.labels ?? {}),
    is_public: request.isPublic ?? false,
    runner_id: context.settings.runnerId,
    auto_stop_interval: request.autoStopInterval ?? DEFAULT_AUTO_STOP_MINUTES,
    auto_archive_interval: request.autoArchiveInterval ?? DEFAULT_AUTO_ARCHIVE_MINUTES,
    auto_delete_interval: request.autoDeleteInterval ?? AUTO_DELETE_OFF,
    ...networkColumns(request.network),
  };
}

/** Says which name it is, when the insert finds it taken. */
export async function withFreeName<T>(name: string, insert: () => Promise<T>): Promise<T> {
  try {
    return await insert();
  } catch (cause) {
    if (isNameTaken(cause)) throw nameTaken(name, cause);
    throw cause;
  }
}

export const nameTaken = (name: string, cause?: unknown) =>
  conflict(`Sandbox with name ${name} already exists`, { cause });

export function isNameTaken(error: unknown): boolean {
  return error instanceof Error && 'constraint' in error && error.constraint === 'sandboxes_name';
}
