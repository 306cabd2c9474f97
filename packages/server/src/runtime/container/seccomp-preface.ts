/**
 * What the filter says before the compiled profile is asked, as BPF instructions of our own, because the profile cannot say it:
 * - libseccomp compares 64 bits of an argument of which the kernel looks at 32, so «anything but this ioctl» could be passed by
 *   with a bit that the kernel drops;
 * - system calls that are newer than the host's libseccomp have no name there, and would answer EPERM where a libc of a newer
 *   image falls back to an older call only after ENOSYS.
 */
type Arch = 'x64' | 'arm64';

/** AUDIT_ARCH_… and the number of ioctl, for the machine's own system calls and the 32-bit ones that it has beside them. */
const SPEAKS: Record<Arch, readonly { arch: number; ioctl: number }[]> = {
  x64: [
    { arch: 0xc000_003e, ioctl: 16 },
    { arch: 0x4000_0003, ioctl: 54 },
  ],
  arm64: [
    { arch: 0xc000_00b7, ioctl: 29 },
    { arch: 0x4000_0028, ioctl: 54 },
  ],
};

/** Characters typed into a terminal by a program, for who has the terminal next; and the same on the console. */
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;

/**
 * From 424 on a call has one number on every architecture. What is older is the profile's: cachestat is the first that common
 * versions of libseccomp do not know. To fchmodat2, map_shadow_stack, futex_wake, futex_wait and futex_requeue (456) we say yes.
 */
const FIRST_LATE_CALL = 451;
/** statmount, listmount and the lsm_… calls are not there. */
const NOT_THERE = 457;
/** mseal, setxattrat, getxattrat, listxattrat, removexattrat (466). */
const THERE_AGAIN = 462;
/** And nothing that is newer, nor the x32 calls, which have a bit far above. */
const UNKNOWN = 467;

const OFFSET_NUMBER = 0;
const OFFSET_ARCH = 4;
const OFFSET_SECOND_ARGUMENT = 24;

const ALLOW = 0x7fff_0000;
const EPERM = 0x0005_0001;
const ENOSYS = 0x0005_0026;

type Place = 'calls' | 'ioctl' | 'allow' | 'eperm' | 'enosys' | 'profile' | 'next';
type Line =
  | { at: Place }
  | { load: number }
  | { jump: 'equal' | 'at least'; value: number; yes: Place; no: Place }
  | { verdict: number };

export function seccompPreface(machine: Arch): Buffer {
  return Buffer.concat(SPEAKS[machine].map((speaks) => assemble(linesFor(speaks))));
}

function linesFor({ arch, ioctl }: { arch: number; ioctl: number }): Line[] {
  const jump = (how: 'equal' | 'at least', value: number, yes: Place, no: Place = 'next'): Line => ({
    jump: how,
    value,
    yes,
    no,
  });
  return [
    { load: OFFSET_ARCH },
    jump('equal', arch, 'calls', 'profile'),
    { at: 'calls' },
    { load: OFFSET_NUMBER },
    jump('at least', FIRST_LATE_CALL, 'next', 'ioctl'),
    jump('at least', UNKNOWN, 'enosys'),
    jump('at least', THERE_AGAIN, 'allow'),
    jump('at least', NOT_THERE, 'enosys', 'allow'),
    { at: 'ioctl' },
    jump('equal', ioctl, 'next', 'profile'),
    { load: OFFSET_SECOND_ARGUMENT },
    jump('equal', TIOCSTI, 'eperm'),
    jump('equal', TIOCLINUX, 'eperm', 'profile'),
    { at: 'allow' },
    { verdict: ALLOW },
    { at: 'eperm' },
    { verdict: EPERM },
    { at: 'enosys' },
    { verdict: ENOSYS },
    { at: 'profile' },
  ];
}

/** Classic BPF: code, two distances of jumps, and a constant. Jumps count the instructions that they pass over. */
function assemble(lines: readonly Line[]): Buffer {
  const places = new Map<Place, number>();
  const instructions: Exclude<Line, { at: Place }>[] = [];
  for (const line of lines) {
    if ('at' in line) places.set(line.at, instructions.length);
    else instructions.push(line);
  }
  const program = Buffer.alloc(instructions.length * 8);
  instructions.forEach((line, index) => {
    const over = (to: Place) => (to === 'next' ? 0 : (places.get(to) ?? 0) - index - 1);
    const [code, yes, no, constant] =
      'load' in line
        ? [0x20, 0, 0, line.load]
        : 'verdict' in line
          ? [0x06, 0, 0, line.verdict]
          : [line.jump === 'equal' ? 0x15 : 0x35, over(line.yes), over(line.no), line.value];
    program.writeUInt16LE(code, index * 8);
    program.writeUInt8(yes, index * 8 + 2);
    program.writeUInt8(no, index * 8 + 3);
    program.writeUInt32LE(constant, index * 8 + 4);
  });
  return program;
}
