import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../platform/errors.ts';
import { MNT_DETACH, unmount } from '../../platform/libc.ts';
import { run } from '../../platform/process.ts';
import type { AddressPlan } from './address-plan.ts';

const IP_TIMEOUT_MS = 60_000;
// Marks interfaces that go away together; only ever set on interfaces of our own name, and only to delete them at once.
const DOOMED_GROUP = 0x64726b00;

/** Files and mounts that namespaces of an earlier run were pinned by. */
export function clearRunDir(runDir: string): void {
  mkdirSync(runDir, { recursive: true, mode: 0o700 });
  for (const name of readdirSync(runDir).filter((name) => /^[0-9a-f]+\.(user|net)$/.test(name))) {
    const path = join(runDir, name);
    try {
      unmount(path, MNT_DETACH);
    } catch (error) {
      if (errnoOf(error) !== 'EINVAL') throw error;
    }
    rmSync(path, { force: true });
  }
}

/** The host interfaces of this server, by address block. */
export function existingInterfaces(plan: AddressPlan): Map<number, string> {
  const names = readFileSync('/proc/net/dev', 'utf8').matchAll(/^\s*([^\s:]+):/gm);
  const found = new Map<number, string>();
  for (const [, name = ''] of names) {
    const index = plan.indexOf(name);
    if (index !== undefined) found.set(index, name);
  }
  return found;
}

/** Deletes interfaces in one go: one at a time, each would wait for the kernel's grace period. */
export async function deleteInterfaces(names: readonly string[]): Promise<void> {
  if (names.length === 0) return;
  const marked = names.map((name) => `link set ${name} group ${DOOMED_GROUP}\n`);
  // An interface may go by itself between the listing and this, so a failed line is no failure.
  await run('ip', ['-force', '-batch', '-'], {
    input: marked.join(''),
    timeoutMs: IP_TIMEOUT_MS,
    okCodes: [0, 1, 2],
  });
  await run('ip', ['link', 'delete', 'group', String(DOOMED_GROUP)], {
    timeoutMs: IP_TIMEOUT_MS,
    okCodes: [0, 1, 2],
  });
}
