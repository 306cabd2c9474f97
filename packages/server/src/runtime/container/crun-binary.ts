import { closeSync, openSync } from 'node:fs';
import { MS_BIND, MS_RDONLY, mount } from '../../platform/libc.ts';
import { unmountQuietly } from './overlay.ts';

const MS_REMOUNT = 32;

/**
 * crun must not be writable through /proc/self/exe from within a container (CVE-2019-5736), so at each call it mounts itself
 * read-only and executes itself once more, which is a third of a call's time. It leaves that out when it lies on a read-only
 * mount already and this variable says that it was meant: the same protection, made once. Gone with the server's namespace.
 */
export function protectCrun(binary: string, target: string): { path: string; env: Record<string, string> } {
  unmountQuietly(target);
  closeSync(openSync(target, 'a', 0o600));
  mount(binary, target, null, MS_BIND, null);
  mount(binary, target, null, MS_BIND | MS_REMOUNT | MS_RDONLY, null);
  return { path: target, env: { _LIBCONTAINER_CLONED_BINARY: '1' } };
}
