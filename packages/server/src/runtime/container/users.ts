import { closeSync } from 'node:fs';
import { errnoOf, invalidRequest } from '../../platform/errors.ts';
import type { ProcessUser } from '../types.ts';
import { withRoot } from './container-root.ts';
import type { LiveContainer } from './live-container.ts';
import { readUpTo } from './read-up-to.ts';
import { openRegular } from './regular-file.ts';

/** Far more than any real one; what comes behind is not read. */
const MAX_FILE_BYTES = 1024 * 1024;
const MAX_GROUPS = 256;
const NUMBER = /^\d{1,10}$/;
const MAX_NAME_LENGTH = 256;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const CONTROL = /[\0-\x1f\x7f]/;

export interface Account {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

export interface Group {
  name: string;
  gid: number;
  members: string[];
}

/** `idCount` bounds the ids that exist in the sandbox. */
export async function resolveContainerUser(
  container: LiveContainer,
  user: string,
  idCount: number,
): Promise<ProcessUser | undefined> {
  const { users, groups } = await withRoot(container, readAccounts);
  return pickUser(user, users, groups, idCount);
}

export interface AccountFiles {
  users: Account[];
  groups: Group[];
}

/** What the container's own files say about users and groups; nothing where it has none. */
export async function readAccounts(root: number): Promise<AccountFiles> {
  return {
    users: parsePasswd(await readDatabase(root, '/etc/passwd')),
    groups: parseGroup(await readDatabase(root, '/etc/group')),
  };
}

/** As Docker reads `USER`: numbers need no entry, names do. */
export function pickUser(
  user: string,
  accounts: readonly Account[],
  groups: readonly Group[],
  idCount: number,
): ProcessUser | undefined {
  const [name = '', groupName, ...rest] = user.split(':');
  if (rest.length > 0) throw invalidRequest(`${user} is not a user: write name, uid, name:group or uid:gid`);
  const wanted = name === '' ? '0' : name;
  const account =
    accounts.find((entry) => entry.name === wanted) ??
    (NUMBER.test(wanted) ? numericAccount(Number(wanted), accounts) : undefined);
  if (account === undefined) return undefined;

  const gid = groupName === undefined || groupName === '' ? account.gid : groupId(groupName, groups);
  if (gid === undefined) return undefined;
  // A group that is named replaces the account's own ones, as in Docker.
  const additional = groupName === undefined ? groups.filter(({ members }) => members.includes(account.name)) : [];
  const inRange = (id: number) => id < idCount;
  if (!inRange(account.uid) || !inRange(gid)) throw invalidRequest(`${user}: ids in a sandbox are below ${idCount}`);
  return {
    uid: account.uid,
    gid,
    additionalGids: [...new Set(additional.map((group) => group.gid))].filter(inRange).slice(0, MAX_GROUPS),
    home: account.home,
    name: account.name,
  };
}

function numericAccount(uid: number, accounts: readonly Account[]): Account {
  const known = accounts.find((entry) => entry.uid === uid);
  return known ?? { name: String(uid), uid, gid: 0, home: uid === 0 ? '/root' : '/' };
}

function groupId(name: string, groups: readonly Group[]): number | undefined {
  const known = groups.find((group) => group.name === name)?.gid;
  return known ?? (NUMBER.test(name) ? Number(name) : undefined);
}

/**
 * passwd(5): name:password:uid:gid:comment:home:shell. Lines that are not that are passed over, and so are names and homes
 * that no environment and no database could hold.
 */
export function parsePasswd(text: string): Account[] {
  return text.split('\n').flatMap((line) => {
    const [name, , uid, gid, , home] = line.split(':');
    if (
      !name ||
      name.length > MAX_NAME_LENGTH ||
      CONTROL.test(name) ||
      name.startsWith('#') ||
      !NUMBER.test(uid ?? '') ||
      !NUMBER.test(gid ?? '')
    )
      return [];
    return [
      { name, uid: Number(uid), gid: Number(gid), home: home?.startsWith('/') && !CONTROL.test(home) ? home : '/' },
    ];
  });
}

/** group(5): name:password:gid:members. */
export function parseGroup(text: string): Group[] {
  return text.split('\n').flatMap((line) => {
    const [name, , gid, members] = line.split(':');
    if (!name || name.startsWith('#') || !NUMBER.test(gid ?? '')) return [];
    return [{ name, gid: Number(gid), members: (members ?? '').split(',').filter(Boolean) }];
  });
}

/** Empty when it is not there, or not a file: an image may have no users at all. */
async function readDatabase(root: number, path: string): Promise<string> {
  let fd: number;
  try {
    ({ fd } = await openRegular(root, path));
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP' || code === 'invalid_request') return '';
    throw error;
  }
  try {
    return (await readUpTo(fd, MAX_FILE_BYTES)).toString('utf8');
  } finally {
    closeSync(fd);
  }
}
