import { existsSync } from 'node:fs';
import { geteuid } from 'node:process';
import { type FsckLineDto, type FsckRequestDto, fsckLineSchema } from '@darkroom/contract';
import {
  type Config,
  DarkroomError,
  detachPool,
  ensurePool,
  isPoolMounted,
  type LoadConfigOptions,
  loadConfig,
  lockStateDir,
  mountNamespace,
} from '@darkroom/server/machine';
import { askLines } from './ask-server.ts';
import { createFsckPrinter, type FsckPrinter } from './fsck-printer.ts';
import { HOST_NAMESPACE_VARIABLE, runInOwnMountNamespace } from './own-namespace.ts';
import { EXIT_FAILURE } from './report-error.ts';

/** It could not look, or not to the end. */
export const EXIT_NOT_RUN = 2;

export interface FsckFlags extends FsckRequestDto {
  json: boolean;
}

/**
 * `darkroom fsck`: asks the server of the state directory, or looks itself where none runs, which is when it is needed most. For that it has a second life, in
 * a mount namespace of its own. Answers 0 when nothing is wrong or all was repaired, and 1 when something is left.
 */
export async function fsck({ env, ...options }: LoadConfigOptions, { json, ...request }: FsckFlags): Promise<number> {
  const { [HOST_NAMESPACE_VARIABLE]: hostNamespace, ...settings } = env;
  delete process.env[HOST_NAMESPACE_VARIABLE];
  const config = loadConfig({ ...options, env: settings });
  const printer = createFsckPrinter({ json, repair: request.repair });
  if (hostNamespace !== undefined && hostNamespace !== (await mountNamespace())) {
    return lookOffline(config, request, printer);
  }
  if (!existsSync(config.stateDir)) {
    throw new DarkroomError('invalid_request', `${config.stateDir} is not there`, {
      hint: 'Name the state directory with --state-dir.',
    });
  }
  if (serverRuns(config.stateDir)) return follow(linesOfServer(config, request), printer);
  return prepareOffline(config);
}

function serverRuns(stateDir: string): boolean {
  try {
    lockStateDir(stateDir).release();
    return false;
  } catch (error) {
    if (error instanceof DarkroomError && error.code === 'conflict') return true;
    throw error;
  }
}

async function* linesOfServer({ stateDir }: Config, request: FsckRequestDto): AsyncGenerator<FsckLineDto> {
  for await (const line of askLines(stateDir, '/api/admin/fsck', request)) yield fsckLineSchema.parse(line);
}

/** In the host's mount namespace: the pool, which is taken away at the end when it was not there before. */
async function prepareOffline(config: Config): Promise<number> {
  if (geteuid?.() !== 0) {
    throw new DarkroomError('forbidden', 'darkroom fsck needs root where no server runs: it mounts', {
      hint: 'Run it with sudo.',
    });
  }
  const wasMounted = await isPoolMounted(config.stateDir);
  const lock = lockStateDir(config.stateDir);
  try {
    await ensurePool({ stateDir: config.stateDir, maxBytes: config.pool.maxBytes });
  } finally {
    // The second life takes it again. A server that comes between is as good.
    lock.release();
  }
  try {
    return await runInOwnMountNamespace();
  } finally {
    // Not under a server that was started meanwhile.
    if (!wasMounted && !serverRuns(config.stateDir)) await detachPool(config.stateDir);
  }
}

async function lookOffline(config: Config, request: FsckRequestDto, printer: FsckPrinter): Promise<number> {
  const lock = lockStateDir(config.stateDir);
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    process.once(signal, () => stop.abort(new DarkroomError('unavailable', `ended by ${signal}`)));
  }
  try {
    const pool = await ensurePool({ stateDir: config.stateDir, maxBytes: config.pool.maxBytes });
    const { fsckOffline } = await import('@darkroom/server/fsck');
    return await follow(fsckOffline(config, { poolRoot: pool.root, ...request, signal: stop.signal }), printer);
  } finally {
    lock.release();
  }
}

async function follow(lines: AsyncIterable<FsckLineDto>, printer: FsckPrinter): Promise<number> {
  let left: number | undefined;
  try {
    for await (const line of lines) {
      printer.print(line);
      if (line.type === 'failed')
        throw new DarkroomError('unavailable', `it could not look to the end: ${line.message}`);
      if (line.type === 'end') left = line.left;
    }
  } finally {
    printer.close();
  }
  if (left === undefined) throw new DarkroomError('unavailable', 'the answer of the server broke off');
  return left === 0 ? 0 : EXIT_FAILURE;
}
