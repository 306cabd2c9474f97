import { closeSync, createReadStream, fstatSync, type Stats } from 'node:fs';
import type { Readable } from 'node:stream';
import type { ContainerFiles, FileStat } from '../types.ts';
import type { ContainerHost } from './container-host.ts';
import { checkPath, fileError, locate, withRoot } from './container-root.ts';
import type { LiveContainer } from './live-container.ts';
import { openRegular } from './regular-file.ts';
import { writeFileInRoot } from './write-file.ts';

/** Shown for an id of the host that the sandbox has no number for, as inside. */
const NOBODY = 65534;

/** `find` gives the running container of this id, or raises. */
export function containerFiles(host: ContainerHost, find: () => LiveContainer): ContainerFiles {
  async function guarded<T>(path: string, use: (root: number) => T | Promise<T>): Promise<T> {
    checkPath(path);
    const container = find();
    try {
      return await withRoot(container, use);
    } catch (error) {
      throw fileError(error, path);
    }
  }
  return {
    read: (path) =>
      guarded(path, async (root) => {
        const { fd, stats } = await openRegular(root, path);
        return { stat: fileStat(stats, host.idBase), stream: streamOf(fd) };
      }),
    stat: (path) => guarded(path, (root) => fileStat(statIn(root, path), host.idBase)),
    write: (path, content, owner) =>
      guarded(path, (root) =>
        writeFileInRoot({
          root,
          path,
          content,
          owner: { uid: host.idBase + owner.uid, gid: host.idBase + owner.gid },
        }),
      ),
  };
}

function statIn(root: number, path: string): Stats {
  const place = locate(root, path);
  try {
    return fstatSync(place);
  } finally {
    closeSync(place);
  }
}

/** The stream owns the descriptor, and closes it also when nobody reads it to the end. */
function streamOf(fd: number): Readable {
  return createReadStream('', { fd, autoClose: true, start: 0 });
}

function fileStat(stats: Stats, idBase: number): FileStat {
  const inside = (id: number) => (id >= idBase ? id - idBase : NOBODY);
  return {
    size: stats.size,
    mode: stats.mode,
    mtimeMs: stats.mtimeMs,
    uid: inside(stats.uid),
    gid: inside(stats.gid),
  };
}
