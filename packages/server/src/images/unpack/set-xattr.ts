import { errnoOf } from '../../platform/errors.ts';
import { EntryRefused } from './unpack-error.ts';

/** What the kernel answers to an attribute that a file of this kind cannot have, and to a value that means nothing. */
const REFUSALS = new Set(['EPERM', 'EACCES', 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ERANGE']);

/** Sets an attribute that an archive names; one that cannot be is a fault of the archive. */
export function setArchivedXattr(name: string, set: () => void): void {
  try {
    set();
  } catch (error) {
    if (!REFUSALS.has(errnoOf(error) ?? '')) throw error;
    throw new EntryRefused(`the kernel refuses its attribute ${JSON.stringify(name.slice(0, 100))}`);
  }
}
