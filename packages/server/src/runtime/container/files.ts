import { closeSync, constants, createReadStream, fstatSync, readlinkSync, type Stats } from 'node:fs';
import type { Readable } from 'node:stream';
import { invalidRequest } from '../../platform/errors.ts';
import { readLinkOf } from '../../platform/libc-files.ts';
import type { ContainerFiles, FileChanges, FileOwner, FileOwnerNames } from '../types.ts';
import type { ContainerHost } from './container-host.ts';
import { checkPath, fileError, locate, notRunning, openContainerRoot, withRoot } from './container-root.ts';
import { lookUp } from './directory-place.ts';
import { changeInRoot, changeOpen } from './file-change.ts';
import { listDirectory } from './file-list.ts';
import { makeDirectoryInRoot, makeLinkInRoot } from './file-make.ts';
import { moveInRoot } from './file-move.ts';
import { openInRoot, openPlace } from './file-open.ts';
import { removeEmptyDirectory, removePath } from './file-remove.ts';
import { fileStat } from './file-stat.ts';
import { walkDirectory } from './file-walk.ts';
import type { LiveContainer } from './live-container.ts';
import { nameOfBytes } from './name-bytes.ts';
import { openRegular, refuseKernelFile } from './regular-file.ts';
import { holdTransfer } from './transfers.ts';
import { type AccountFiles, readAccounts } from './users.ts';
import { writeFileInRoot } from './write-file.ts';

/** `find` gives the running container of this id, or raises. */
export function containerFiles(host: ContainerHost, find: () => LiveContainer): ContainerFiles {
  const { idBase, idCount } = host;

  async function guarded<T>(path: string, use: (root: number, container: LiveContainer) => T | Promise<T>): Promise<T> {
    checkPath(path);
    const container = find();
    try {
      return await withRoot(container, (root) => use(root, container));
    } catch (error) {
      throw fileError(error, path);
    }
  }

  async function* guardedEach<T>(path: string, each: (root: number) => AsyncGenerator<T>): AsyncGenerator<T> {
    checkPath(path);
    const container = find();
    const root = openContainerRoot(container);
    let closed = false;
    const close = () => {
      if (!closed) closeSync(root);
      closed = true;
    };
    const found = each(root);
    const forget = holdTransfer(container, () => {
      // Behind the look that is under way, which may need the descriptor.
      found.return(undefined).then(close, close);
    });
    try {
      yield* found;
      if (closed) throw notRunning(container.id);
    } catch (error) {
      throw fileError(error, path);
    } finally {
      forget();
      close();
    }
  }

  const onHost = ({ uid, gid }: FileOwner): FileOwner => ({ uid: idBase + uid, gid: idBase + gid });
  const accounts = (): Promise<AccountFiles> => withRoot(find(), readAccounts);
  const change = (changes: FileChanges) => ({ idBase, idCount, changes, accounts });
  const handles = {
    idBase,
    change: (fd: number, path: string, changes: FileChanges) => changeOpen(fd, fstatSync(fd), path, change(changes)),
  };

  return {
    read: (path) =>
      guarded(path, async (root, container) => {
        const { fd, stats } = await openRegular(root, path);
        const stream = streamOf(fd);
        stream.once('close', endWith(container, stream));
        return { stat: fileStat(stats, idBase), stream };
      }),
    write: (path, content, owner) =>
      guarded(path, async (root, container) => {
        const forget = endWith(container, content);
        try {
          return await writeFileInRoot({ root, path, content, owner: onHost(owner) });
        } finally {
          forget();
        }
      }),
    stat: (path) => guarded(path, (root) => fileStat(statIn(root, path), idBase)),
    lstat: (path) => guarded(path, (root) => fileStat(statIn(root, path, constants.O_NOFOLLOW), idBase)),
    readLink: (path) => guarded(path, (root) => linkIn(root, path)),
    realPath: (path) => guarded(path, (root) => realPathIn(root, path)),
    async ownerNames() {
      return namesOf(await accounts());
    },
    list: (path) => guardedEach(path, (root) => listDirectory(root, path, idBase)),
    walk: (path, { maxDepth = Number.POSITIVE_INFINITY, signal }) =>
      guardedEach(path, (root) =>
        walkDirectory({
          root,
          path,
          maxDepth,
          signal,
          idBase,
          async open(directory, name, found) {
            const entry = lookUp(directory, name);
            if (entry === undefined) throw invalidRequest(`${found} is gone`);
            return openPlace(entry.fd, found, { read: true }, handles);
          },
        }),
      ),
    makeDirectory: (path, { mode, owner, parents }) =>
      guarded(path, (root) => makeDirectoryInRoot(root, path, { mode, parents, owner: onHost(owner) })),
    makeLink: (target, path, owner) => guarded(path, (root) => makeLinkInRoot(root, path, target, onHost(owner))),
    remove: (path, options) => guarded(path, (root) => removePath({ root, path, ...options })),
    removeDirectory: (path) => guarded(path, (root) => removeEmptyDirectory(root, path)),
    rename: (from, to, options) =>
      guarded(from, (root) => {
        checkPath(to);
        return moveInRoot({ root, from, to, ...options });
      }),
    change: (path, changes) => guarded(path, (root) => changeInRoot(root, path, change(changes))),
    open: (path, options) =>
      guarded(path, async (root, container) => {
        const file = await openInRoot(root, path, options, handles);
        const forget = holdTransfer(container, () => void file.close().catch(() => {}));
        return { ...file, close: () => file.close().finally(forget) };
      }),
  };
}

function endWith(container: LiveContainer, stream: Readable): () => void {
  // Whoever reads it is told; that nobody does at the moment must not bring the server down.
  stream.on('error', () => {});
  return holdTransfer(container, () => stream.destroy(notRunning(container.id)));
}

function statIn(root: number, path: string, flags = 0): Stats {
  const place = locate(root, path, flags);
  try {
    return fstatSync(place);
  } finally {
    closeSync(place);
  }
}

async function linkIn(root: number, path: string): Promise<string> {
  const place = locate(root, path, constants.O_NOFOLLOW);
  try {
    if (!fstatSync(place).isSymbolicLink()) throw invalidRequest(`${path} is not a symbolic link`);
    await refuseKernelFile(place, path);
    return nameOfBytes(readLinkOf(place));
  } finally {
    closeSync(place);
  }
}

/** The kernel names what is open as the container sees it, because its mounts are not below any root of ours. */
async function realPathIn(root: number, path: string): Promise<string> {
  const place = locate(root, path);
  try {
    await refuseKernelFile(place, path);
    return nameOfBytes(readlinkSync(`/proc/self/fd/${place}`, { encoding: 'buffer' }));
  } finally {
    closeSync(place);
  }
}

function namesOf({ users, groups }: AccountFiles): FileOwnerNames {
  const owners = new Map(users.toReversed().map(({ uid, name }) => [uid, name] as const));
  const groupNames = new Map(groups.toReversed().map(({ gid, name }) => [gid, name] as const));
  return {
    owner: (uid) => owners.get(uid) ?? String(uid),
    group: (gid) => groupNames.get(gid) ?? String(gid),
  };
}

/** The stream owns the descriptor, and closes it also when nobody reads it to the end. */
function streamOf(fd: number): Readable {
  return createReadStream('', { fd, autoClose: true, start: 0 });
}
