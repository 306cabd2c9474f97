import { EntryRefused } from './unpack-error.ts';

/** The host's id for an id of the image. Refused when the range has no place for it. */
export type IdShift = (id: number) => number;

export function createIdShift(range: { idBase: number; idCount: number }): IdShift {
  return (id) => {
    if (Number.isInteger(id) && id >= 0 && id < range.idCount) return range.idBase + id;
    throw new EntryRefused(
      `it belongs to user or group ${id}, and ids go up to ${range.idCount - 1}`,
      'Change its owner in the image, or raise runtime.idCount.',
    );
  };
}
