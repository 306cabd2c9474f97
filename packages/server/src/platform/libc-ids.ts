import { checked, libc } from './libc.ts';

/** Of the calling thread alone, unlike Node's own `setegid` and `seteuid`. */
const c = {
  setfsuid: libc.func('int setfsuid(uint32_t id)'),
  setfsgid: libc.func('int setfsgid(uint32_t id)'),
};

/**
 * Does something synchronous with other ids towards file systems, and without root's rights over files. Nothing that is
 * handed to another thread is touched by it.
 */
export function withFileSystemIds<T>(ids: { uid: number; gid: number }, act: () => T): T {
  const gid = checked('setfsgid', c.setfsgid(ids.gid));
  const uid = checked('setfsuid', c.setfsuid(ids.uid));
  try {
    return act();
  } finally {
    c.setfsuid(uid);
    c.setfsgid(gid);
  }
}
