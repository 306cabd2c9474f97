import { readFile } from 'node:fs/promises';
import { mountNamespace } from '../runtime/prepare-cgroups.ts';

/** Of the first process above us that is in another one: who unshared it for the tests. */
export async function outerMountNamespace(): Promise<string | undefined> {
  const own = await mountNamespace();
  for (let pid = process.ppid; pid > 0; ) {
    const other = await mountNamespace(pid).catch(() => own);
    if (other !== own) return other;
    pid = Number(/^PPid:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  }
  return undefined;
}
