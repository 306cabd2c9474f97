import { type Advice, type HintRule, hint } from './hint-rule.ts';

const LIMIT = { class: 'limit_exceeded', code: 'quota_exceeded' } as const satisfies Omit<Advice, 'hint'>;

export const LIMIT_RULES: readonly HintRule[] = [
  {
    name: 'no space',
    output: /No space left on device|ENOSPC|Disk quota exceeded|EDQUOT|not enough free space/i,
    advise: hint(
      'The step has no disk space left: remove in the same RUN what is not needed later (caches, archives, build directories), or have the disk limit of builds raised.',
      LIMIT,
    ),
  },
  {
    name: 'heap of node',
    output: /JavaScript heap out of memory/,
    advise: hint(
      'Node.js has reached the limit of its own heap: ENV NODE_OPTIONS=--max-old-space-size=4096 raises it, up to the memory limit of builds.',
      LIMIT,
    ),
  },
  {
    name: 'out of memory',
    output:
      /Cannot allocate memory|MemoryError|std::bad_alloc|out of memory|virtual memory exhausted|Killed signal terminated program/i,
    advise: hint(
      'The step has no memory left: let it do less at a time (make -j1), or have the memory limit of builds raised.',
      LIMIT,
    ),
  },
  {
    name: 'processes',
    output:
      /fork: (?:retry: )?Resource temporarily unavailable|can't start new thread|unable to create (?:native )?thread|pthread_create failed|Cannot fork/i,
    advise: hint(
      'The step has reached its limit of processes and threads: let it do less at a time, or have the limit of builds raised.',
      LIMIT,
    ),
  },
  {
    name: 'killed',
    exitCodes: [137],
    advise: hint(
      'It was killed, as happens to what needs more memory than a step has: let it do less at a time (make -j1, pip --no-cache-dir), or have the memory limit of builds raised.',
      LIMIT,
    ),
  },
  {
    name: 'timed out by itself',
    exitCodes: [124],
    command: /\btimeout\b/,
    advise: hint('The time that `timeout` in the command gives is over.'),
  },
  {
    name: 'crashed',
    exitCodes: [132, 134, 135, 136, 139],
    advise: ({ exitCode }) => ({
      hint: `${{ 132: 'It used an instruction that this processor does not have', 134: 'It aborted itself', 135: 'It crashed (bus error)', 136: 'It crashed (arithmetic)' }[exitCode] ?? 'It crashed (segmentation fault)'}: a program for another processor or library, or a fault of its own.`,
    }),
  },
];
