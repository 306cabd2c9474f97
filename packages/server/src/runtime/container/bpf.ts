import { DarkroomError } from '../../platform/errors.ts';

/** What a seccomp filter sees of a system call (`struct seccomp_data`). */
export interface SystemCall {
  number: number;
  /** `AUDIT_ARCH_…` of linux/audit.h. */
  arch: number;
  args?: readonly number[];
}

const INSTRUCTION_SIZE = 8;
const MAX_INSTRUCTIONS = 4096;

/**
 * Runs a compiled seccomp filter (classic BPF, as bpf(4) and seccomp(2) define it) on one system call and gives its verdict.
 * A filter that comes from a cache on disk is asked what it does before it guards anything.
 */
export function runFilter(filter: Buffer, call: SystemCall): number {
  if (
    filter.length === 0 ||
    filter.length % INSTRUCTION_SIZE !== 0 ||
    filter.length / INSTRUCTION_SIZE > MAX_INSTRUCTIONS
  ) {
    throw malformed(`it is ${filter.length} bytes long`);
  }
  const data = encode(call);
  let accumulator = 0;
  // Jumps only go forward, so the program ends after as many steps as it has instructions.
  for (let at = 0; at < filter.length; at += INSTRUCTION_SIZE) {
    const code = filter.readUInt16LE(at);
    const k = filter.readUInt32LE(at + 4);
    const branch = (taken: boolean) => filter.readUInt8(at + (taken ? 2 : 3)) * INSTRUCTION_SIZE;
    switch (code) {
      case 0x20: // ld [k]
        if (k % 4 !== 0 || k > data.length - 4) throw malformed(`it reads at ${k}`);
        accumulator = data.readUInt32LE(k);
        break;
      case 0x54: // and #k
        accumulator = (accumulator & k) >>> 0;
        break;
      case 0x05: // ja
        at += k * INSTRUCTION_SIZE;
        break;
      case 0x15: // jeq
        at += branch(accumulator === k);
        break;
      case 0x25: // jgt
        at += branch(accumulator > k);
        break;
      case 0x35: // jge
        at += branch(accumulator >= k);
        break;
      case 0x45: // jset
        at += branch((accumulator & k) !== 0);
        break;
      case 0x06: // ret #k
        return k;
      default:
        throw malformed(`it has the instruction 0x${code.toString(16)}`);
    }
  }
  throw malformed('it does not end with a verdict');
}

function encode(call: SystemCall): Buffer {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.number, 0);
  data.writeUInt32LE(call.arch, 4);
  (call.args ?? []).forEach((arg, i) => {
    data.writeBigUInt64LE(BigInt(arg), 16 + i * 8);
  });
  return data;
}

function malformed(what: string): DarkroomError {
  return new DarkroomError('internal', `the seccomp filter is malformed: ${what}`);
}
