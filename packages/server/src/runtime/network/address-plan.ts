import { DarkroomError } from '../../platform/errors.ts';

/** What one sandbox has of the network's address range: a /30 with the host's end, the sandbox's end and the host's interface. */
export interface AddressBlock {
  index: number;
  hostInterface: string;
  /** The sandbox's own address. */
  address: string;
  /** The host's end, the sandbox's way out. */
  gateway: string;
}

export interface AddressPlan {
  cidr: string;
  /** How many sandboxes the range has room for. */
  size: number;
  /** Begins the name of every host interface of this server and of nobody else's. */
  interfacePrefix: string;
  block(index: number): AddressBlock;
  /** The index in an interface's name; undefined for interfaces that are not of this plan. */
  indexOf(hostInterface: string): number | undefined;
}

// An interface name has at most 15 characters: `dr`, the whole tag (8), and five hex digits of index.
const MAX_BLOCKS = 0x100000;
const BLOCK_SIZE = 4;

export function addressPlan(cidr: string, tag: string): AddressPlan {
  if (!/^[0-9a-f]{8}$/.test(tag)) throw new DarkroomError('internal', `the tag ${tag} is not eight hex digits`);
  const { first, length } = parseCidr(cidr);
  const size = Math.min(Math.floor(length / BLOCK_SIZE), MAX_BLOCKS);
  const interfacePrefix = `dr${tag}`;
  return {
    cidr: `${formatAddress(first)}/${32 - Math.log2(length)}`,
    size,
    interfacePrefix,
    block(index) {
      if (!Number.isInteger(index) || index < 0 || index >= size) {
        throw new DarkroomError('internal', `the address block ${index} is outside of ${cidr}`, {
          hint: 'Was network.cidr changed while sandboxes run? Stop them first.',
        });
      }
      const base = first + index * BLOCK_SIZE;
      return {
        index,
        hostInterface: interfacePrefix + index.toString(16),
        gateway: formatAddress(base + 1),
        address: formatAddress(base + 2),
      };
    },
    indexOf(hostInterface) {
      if (!hostInterface.startsWith(interfacePrefix)) return undefined;
      const hex = hostInterface.slice(interfacePrefix.length);
      return /^(0|[1-9a-f][0-9a-f]{0,4})$/.test(hex) ? Number.parseInt(hex, 16) : undefined;
    },
  };
}

function parseCidr(cidr: string): { first: number; length: number } {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(cidr);
  const [bytes, prefix] = [match?.slice(1, 5).map(Number) ?? [], Number(match?.[5])];
  if (match === null || prefix > 30 || prefix < 8 || bytes.some((byte) => byte > 255)) {
    throw new DarkroomError('invalid_request', `network.cidr ${cidr} is not an IPv4 range between /8 and /30`, {
      hint: 'Take a private range that nothing else on this machine uses, for example 10.213.0.0/16.',
    });
  }
  const length = 2 ** (32 - prefix);
  const address = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  return { first: address - (address % length), length };
}

function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}
