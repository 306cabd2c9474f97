import { createHash } from 'node:crypto';

/** As runsc calls a container. It takes the beginning of a name for the name, so all have one length. */
export function runscName(id: string): string {
  return createHash('sha256').update(id).digest('hex').slice(0, 32);
}
