import { z } from 'zod';
import { cidr, ip, mbps } from './fields.ts';

export const runtimeSettings = z
  .strictObject({
    crun: z.string().min(1).default('crun').describe('The crun program: a name on the PATH or a path.'),
    gvisor: z
      .string()
      .min(1)
      .default('auto')
      .describe(
        'Whether snapshots may ask for gVisor (`sandboxClass`): `auto` where `runsc` is installed and works here, `off`, or a path of runsc.',
      ),
    idBase: z
      .int()
      .min(65536)
      .max(2_000_000_000)
      .default(1_000_000_000)
      .describe('Host uid and gid that is root in every sandbox.'),
    idCount: z
      .int()
      .min(65536)
      .max(1_000_000_000)
      .default(1_000_000_000)
      .describe('How many ids follow `idBase`; each sandbox’s namespace is made under one of the million behind them.'),
    pidsLimit: z.int().min(16).default(1024).describe('Most processes and threads in one sandbox.'),
    diskLimits: z
      .boolean()
      .default(true)
      .describe(
        'Each new sandbox gets a disk of its own size, by a loop device. `false`: only the pool bounds what it writes.',
      ),
    readyDisks: z
      .int()
      .min(0)
      .max(256)
      .default(16)
      .describe('Disks of sandboxes made ahead of time, of each of the two sizes used last.'),
    readyNamespaces: z.int().min(0).max(1024).default(32).describe('Network namespaces made ahead of time.'),
    startConcurrency: z
      .int()
      .min(1)
      .max(256)
      .default(8)
      .describe('Sandboxes started at the same time; more wait their turn.'),
  })
  .prefault({});

export const networkSettings = z
  .strictObject({
    cidr: z
      .cidrv4('must be an IPv4 range such as 10.213.0.0/16')
      .default('10.213.0.0/16')
      .describe('Addresses of sandboxes; each takes a /30.'),
    allowPrivate: z.array(cidr).default([]).describe('Private ranges that sandboxes may reach all the same.'),
    dns: z.array(ip).optional().describe('Name servers that sandboxes use; without it the ones of the host.'),
    bandwidthMbps: z
      .strictObject({
        in: mbps
          .optional()
          .describe('Megabits a second that a sandbox gets from the outside, where it has no limit of its own.'),
        out: mbps.optional().describe('The same for what it sends there.'),
      })
      .default({}),
  })
  .prefault({});
