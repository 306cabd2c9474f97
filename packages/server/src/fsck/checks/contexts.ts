import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isUuid } from '../../builds/bound-logs.ts';
import { contextFault } from '../../builds/contexts/context-digest.ts';
import type { Check, Finding, Scene } from '../types.ts';
import { namesIn, removeTree } from './temporary-files.ts';

const SUFFIX = '.tar';

/** Uploads for builds, where they are kept on this machine: each is of an organization that there is, and what it was when it came. */
export const contexts: Check = {
  name: 'contexts',
  title: 'uploads for builds',
  async *find(scene) {
    const stored = join(scene.poolRoot, 'contexts', 'stored');
    // Listed first: an organization comes before its first upload.
    const folders = await namesIn(stored);
    const organizations = await scene.db.selectFrom('organizations').select('id').execute();
    const known = new Set(organizations.map(({ id }) => id));
    for (const [index, folder] of folders.entries()) {
      yield { done: index, total: folders.length };
      const where = join(stored, folder);
      if (!known.has(folder)) {
        const problem = 'no organization has these uploads';
        const repair = { does: 'remove them', run: () => removeFolder(scene, where, folder) };
        yield { kind: 'contexts-of-nobody', id: folder, where, problem, repair } satisfies Finding;
        continue;
      }
      for (const name of await namesIn(where)) {
        const path = join(where, name);
        const problem = name.endsWith(SUFFIX) ? await faultOf(scene, path) : 'it is no upload';
        if (problem === undefined) continue;
        const repair = { does: 'remove it: clients upload it again', run: () => remove(scene, path) };
        yield { kind: 'context-damaged', id: name.replace(SUFFIX, ''), where: path, problem, repair } satisfies Finding;
      }
    }
  },
};

async function faultOf({ depth, signal }: Scene, path: string): Promise<string | undefined> {
  if (depth === 'quick' || !existsSync(path)) return undefined;
  return contextFault(path, { bytes: depth === 'bytes', signal });
}

async function remove(scene: Scene, path: string): Promise<string | undefined> {
  // The same may have been uploaded again meanwhile.
  if (path.endsWith(SUFFIX) && (await faultOf(scene, path)) === undefined) return undefined;
  await rm(path, { recursive: true, force: true });
  return 'removed';
}

async function removeFolder({ db, signal }: Scene, path: string, id: string): Promise<string | undefined> {
  const row = isUuid(id)
    ? await db.selectFrom('organizations').select('id').where('id', '=', id).executeTakeFirst()
    : undefined;
  if (row !== undefined) return undefined;
  await removeTree(path, signal);
  return 'removed';
}
