import { once } from 'node:events';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { DarkroomError, undefinedIfMissing } from '../errors.ts';
import { syncDirectory } from '../sync-directory.ts';
import { type DatabaseUser, ownDirectory } from './postgres-files.ts';
import type { Launcher } from './postgres-launch.ts';

export const DATABASE_ROLE = 'darkroom';
const MAJOR_VERSION = '18';
const INITDB_TIMEOUT_MS = 120_000;

/**
 * Makes the data directory at the first start: beside its place, then moved there by a rename, so that a crash leaves
 * either none or a whole one.
 */
export async function ensureDataDirectory(
  dataDir: string,
  user: DatabaseUser,
  launcher: Launcher,
  log: { path: string; fd: number },
): Promise<void> {
  const version = await readVersion(dataDir);
  if (version !== undefined && version !== MAJOR_VERSION) {
    throw new DarkroomError(
      'internal',
      `the database in ${dataDir} was made by PostgreSQL ${version}, this Darkroom runs ${MAJOR_VERSION}`,
      { hint: 'Dump it with the Darkroom that made it and restore it here, or choose another state directory.' },
    );
  }
  if (version === undefined) {
    await removeHalfMade(dataDir);
    await initialise(dataDir, user, launcher, log);
  }
  await writeAccessRules(dataDir);
}

async function readVersion(dataDir: string): Promise<string | undefined> {
  const text = await readFile(join(dataDir, 'PG_VERSION'), 'utf8').catch(undefinedIfMissing);
  return text?.trim();
}

async function removeHalfMade(dataDir: string): Promise<void> {
  const parent = dirname(dataDir);
  for (const name of await readdir(parent)) {
    if (name.startsWith('postgres.new-')) await rm(join(parent, name), { recursive: true, force: true });
  }
}

async function initialise(
  dataDir: string,
  user: DatabaseUser,
  launcher: Launcher,
  log: { path: string; fd: number },
): Promise<void> {
  const fresh = `${dataDir}.new-${process.pid}`;
  await ownDirectory(fresh, user);
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  const child = launcher.spawn('initdb', fresh, {
    args: ['-D', launcher.seen(fresh), '-U', DATABASE_ROLE, '--auth=peer', '--data-checksums', ...locale],
    logFd: log.fd,
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), INITDB_TIMEOUT_MS);
  try {
    const [code, killedBy] = await once(child, 'close');
    if (code !== 0) {
      throw new DarkroomError('internal', `making the database failed (${killedBy ?? `exit code ${code}`})`, {
        hint: `Its output is at the end of ${log.path}.`,
      });
    }
    await rename(fresh, dataDir);
    await syncDirectory(dirname(dataDir));
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Only the user that the server runs as may log in. Written at each start, since that user may be another than last time. */
async function writeAccessRules(dataDir: string): Promise<void> {
  await writeFile(join(dataDir, 'pg_hba.conf'), `local all ${DATABASE_ROLE} peer map=darkroom\n`);
  await writeFile(join(dataDir, 'pg_ident.conf'), `darkroom "${userInfo().username}" ${DATABASE_ROLE}\n`);
}
