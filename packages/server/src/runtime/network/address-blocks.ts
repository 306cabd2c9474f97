import { existsSync } from 'node:fs';
import type { AddressBlock, AddressPlan } from './address-plan.ts';

/** Which blocks of the plan are given out. */
export interface AddressBlocks {
  /** Up to `count` free blocks; fewer when the range is nearly used up or its interfaces are still going away. */
  reserve(count: number): AddressBlock[];
  /** Takes this one out of the free ones. Idempotent. */
  use(index: number): void;
  free(index: number): void;
  isUsed(index: number): boolean;
  readonly allUsed: boolean;
}

/**
 * Goes round the range, so that an address comes back as late as possible: the kernel takes an ended sandbox's interface away a
 * little later, and connections that others still hold towards it must not reach a new one.
 */
export function createAddressBlocks(plan: AddressPlan, first: number): AddressBlocks {
  const used = new Set<number>();
  let next = first % plan.size;

  return {
    reserve(count) {
      const reserved: AddressBlock[] = [];
      for (let tried = 0; tried < plan.size && reserved.length < count && used.size < plan.size; tried += 1) {
        const index = next;
        next = (next + 1) % plan.size;
        if (used.has(index)) continue;
        const block = plan.block(index);
        if (interfaceExists(block.hostInterface)) continue;
        used.add(index);
        reserved.push(block);
      }
      return reserved;
    },
    use: (index) => void used.add(index),
    free: (index) => void used.delete(index),
    isUsed: (index) => used.has(index),
    get allUsed() {
      return used.size >= plan.size;
    },
  };
}

/** Through procfs, which shows the network namespace of the reader; sysfs shows the one it was mounted in. */
function interfaceExists(name: string): boolean {
  return existsSync(`/proc/sys/net/ipv4/conf/${name}`);
}
