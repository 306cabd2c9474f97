/** Who changed it, in events. */
export const FSCK = 'system:fsck';
