import { z } from 'zod';
import { bytes, httpUrl } from './fields.ts';

export const registriesSettings = z
  .strictObject({
    mirrors: z
      .record(z.string(), z.array(httpUrl))
      .default({})
      .describe(
        'Where to fetch images of a registry instead: `{"docker.io": ["https://mirror.example"]}`; tried in order, then the registry itself.',
      ),
    insecure: z
      .array(z.string())
      .default([])
      .describe('Registries (HOST or HOST:PORT) that may be talked to over http; loopback ones may in any case.'),
    caFiles: z.array(z.string()).default([]).describe('Extra CA certificates (PEM files).'),
    concurrency: z.int().min(1).max(16).default(4).describe('Layers fetched at the same time in one pull.'),
  })
  .prefault({});

export const buildsSettings = z
  .strictObject({
    maxContextBytes: bytes.default(4 * 1024 ** 3).describe('One upload of files for a build.'),
    maxContextBytesPerOrganization: bytes
      .default(20 * 1024 ** 3)
      .describe('All uploads of an organization; the ones not used for longest, and not within a day, make way.'),
    unusedContextDays: z
      .int()
      .min(1)
      .default(30)
      .describe('Uploads that no build and no client asked for in so many days are deleted.'),
    cacheMaxBytes: z
      .int()
      .min(0)
      .default(20 * 1024 ** 3)
      .describe(
        'Results of steps and base images that no snapshot and no sandbox needs; those used longest ago make way.',
      ),
    cacheMaxAgeDays: z
      .int()
      .min(1)
      .max(3650)
      .default(30)
      .describe('Such results are forgotten when no build has used them for so many days.'),
    concurrency: z
      .int()
      .min(1)
      .max(256)
      .default(4)
      .describe('Builds that run at the same time; more wait, and organizations take turns.'),
    stepConcurrency: z
      .int()
      .min(1)
      .max(256)
      .optional()
      .describe('Steps of all builds that run at the same time; as many as there are cores without it.'),
    concurrencyPerOrganization: z
      .int()
      .min(1)
      .max(256)
      .default(3)
      .describe('The same, of one organization: the rest is for the others.'),
    stepEnvironment: z
      .record(z.string().regex(/^[^=\0]+$/, 'must be a name of a variable'), z.string().regex(/^[^\0]*$/))
      .default({})
      .describe(
        'Variables that `RUN` finds when the build does not set them itself; they are in no layer. `HTTP_PROXY`, `HTTPS_PROXY`, `FTP_PROXY`, `ALL_PROXY` and `NO_PROXY` of the server’s own environment, in either case, are among them; a proxy with a private address must be in `network.allowPrivate`, and one of the host’s loopback cannot be reached.',
      ),
    caFiles: z
      .array(z.string().startsWith('/', 'must be an absolute path'))
      .default([])
      .describe(
        'Extra CA certificates (PEM files) that `RUN` trusts, beside all that the host does; those in `/usr/local/share/ca-certificates` are among them. They are in no layer.',
      ),
    logsMbPerOrganization: z
      .number()
      .positive()
      .default(2048)
      .describe(
        'MB of logs of all builds of an organization; the oldest make way. They go with their snapshots in any case.',
      ),
    cacheMountMaxBytes: bytes
      .default(10 * 1024 ** 3)
      .describe('All directories of `RUN --mount=type=cache` together; those used longest ago make way.'),
    allowInternalSources: z
      .boolean()
      .default(false)
      .describe('Whether ADD may fetch from loopback and private addresses.'),
    limits: z
      .strictObject({
        cpu: z.number().positive().default(4).describe('Cores of one step, up to what a sandbox may have.'),
        memoryGb: z
          .number()
          .positive()
          .default(8)
          .describe('GiB of memory of one step, up to what a sandbox may have.'),
        pids: z.int().min(16).default(4096).describe('Most processes and threads of one step.'),
        diskGb: z
          .number()
          .positive()
          .default(20)
          .describe('GiB that one step may write, up to the size that a snapshot may have.'),
        stepMinutes: z.number().positive().default(60).describe('A step is ended after this.'),
        minutes: z
          .number()
          .positive()
          .max(115)
          .default(110)
          .describe('A build is ended after this, counted from its first step.'),
        logMb: z.number().positive().default(64).describe('MB that a build may write to its log.'),
      })
      .prefault({})
      .describe('Of each build.'),
  })
  .prefault({});
