import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { invalidRequest } from '../../platform/errors.ts';
import { readUpTo } from '../../runtime/container/read-up-to.ts';
import { type Account, type Group, parseGroup, parsePasswd } from '../../runtime/container/users.ts';
import { followPath } from './follow-path.ts';
import type { TreeView } from './tree-view.ts';

/** Ids as the image counts them. */
export interface Owner {
  uid: number;
  gid: number;
}

const NUMBER = /^\d{1,10}$/;
const MAX_FILE_BYTES = 10 * 1024 * 1024;

/**
 * Who `--chown` means: `user`, `user:group`, each a name or a number. A user without a group brings its own (of a number: the same
 * number). A name that the tree does not know is refused, and so is an id of `idCount` and above: on the host it would be somebody else's.
 */
export async function resolveOwner(text: string, root: TreeView, idCount: number): Promise<Owner> {
  const colon = text.indexOf(':');
  const user = colon === -1 ? text : text.slice(0, colon);
  const group = colon === -1 ? '' : text.slice(colon + 1);
  const own = await userIds(user, root, text);
  const owner = group === '' ? own : { uid: own.uid, gid: await groupId(group, root, text) };
  if (owner.uid < idCount && owner.gid < idCount) return owner;
  throw invalidRequest(`--chown=${text.slice(0, 100)}: ids in an image are below ${idCount}`);
}

async function userIds(user: string, root: TreeView, text: string): Promise<Owner> {
  if (user === '' || user === 'root') return { uid: 0, gid: 0 };
  if (NUMBER.test(user)) return { uid: Number(user), gid: Number(user) };
  const accounts: Account[] = parsePasswd(await readText(root, 'etc/passwd'));
  const account = accounts.find(({ name }) => name === user);
  if (account === undefined) throw unknown('user', user, '/etc/passwd', text);
  return { uid: account.uid, gid: account.gid };
}

async function groupId(group: string, root: TreeView, text: string): Promise<number> {
  if (group === 'root') return 0;
  if (NUMBER.test(group)) return Number(group);
  const groups: Group[] = parseGroup(await readText(root, 'etc/group'));
  const found = groups.find(({ name }) => name === group);
  if (found === undefined) throw unknown('group', group, '/etc/group', text);
  return found.gid;
}

async function readText(root: TreeView, path: string): Promise<string> {
  const place = followPath(root, path);
  if (root.lstat(place)?.isFile() !== true) return '';
  const fd = openSync(root.locate(place), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    return fstatSync(fd).isFile() ? (await readUpTo(fd, MAX_FILE_BYTES)).toString('utf8') : '';
  } finally {
    closeSync(fd);
  }
}

const unknown = (kind: string, name: string, file: string, text: string) =>
  invalidRequest(
    `--chown=${text.slice(0, 100)}: there is no ${kind} ${JSON.stringify(name.slice(0, 100))} in ${file} of the stage`,
    {
      hint: `Make the ${kind} in a RUN before, or use a number.`,
    },
  );
