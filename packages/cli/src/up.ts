import { geteuid } from 'node:process';
import {
  type Config,
  DarkroomError,
  ensurePool,
  hasFailure,
  type LoadConfigOptions,
  loadConfig,
  lockStateDir,
  mountNamespace,
  probeMachine,
  renderProbe,
} from '@darkroom/server/machine';
import { hasColor } from './doctor.ts';
import { HOST_NAMESPACE_VARIABLE, reexecInOwnMountNamespace } from './own-namespace.ts';
import { EXIT_FAILURE } from './report-error.ts';
import { serve } from './serve.ts';
import { version } from './version.ts';

/**
 * `darkroom up`, in two lives of one process. The first, in the host's mount namespace, makes ready what outlives the server; the
 * second, in a namespace of its own, is the server. Answers the exit code when the server has ended.
 */
export async function up({ flags, env }: LoadConfigOptions): Promise<number> {
  // The mark is ours, no setting, and no child's business.
  const { [HOST_NAMESPACE_VARIABLE]: hostNamespace, ...settings } = env;
  delete process.env[HOST_NAMESPACE_VARIABLE];
  const config = loadConfig({ flags, env: settings });
  // One that somebody exported by accident names the namespace that we are still in.
  if (hostNamespace === undefined || hostNamespace === (await mountNamespace())) return prepare(config);
  return serve(config, { hostMountNamespace: hostNamespace });
}

async function prepare(config: Config): Promise<number> {
  refuseUnprivileged();
  // Ends with this life; the next one takes it again. Whoever comes between is a server as good as we.
  const lock = lockStateDir(config.stateDir);
  const rows = await probeMachine(config);
  process.stdout.write(`Darkroom ${version()}\n${renderProbe(rows, { color: hasColor() })}\n`);
  if (hasFailure(rows)) {
    process.stderr.write('darkroom: this machine is not ready; the rows above that failed say what to do\n');
    return EXIT_FAILURE;
  }
  await ensurePool({ stateDir: config.stateDir, maxBytes: config.pool.maxBytes });
  lock.release();
  return reexecInOwnMountNamespace();
}

function refuseUnprivileged(): void {
  if (geteuid?.() === 0) return;
  throw new DarkroomError('forbidden', 'darkroom up needs root: it mounts, and makes namespaces and cgroups', {
    hint: 'Run it with sudo. Sandboxes themselves run under unprivileged ids.',
  });
}
