import { z } from 'zod';

const cidr = z.union([z.cidrv4(), z.cidrv6()], 'must be an address range such as 10.0.0.0/8');
const ip = z.union([z.ipv4(), z.ipv6()], 'must be an IP address');
const bytes = z.int().positive();
const mbps = z.number().positive().max(100_000);
const httpUrl = z.url({ protocol: /^https?$/, error: 'must be a URL such as https://host:port' });

/** HOST:PORT with an IPv6 address in brackets. */
const listenAddress = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[^:\s[\]]+):\d{1,5}$/, 'must be HOST:PORT, for example 127.0.0.1:3986')
  .refine((value) => Number(value.slice(value.lastIndexOf(':') + 1)) <= 65535, 'the port must be at most 65535');

/**
 * Every setting of the server. Each can stand in the configuration file (YAML), under the name it has here, and in the
 * environment as `DARKROOM_` + the path in upper snake case (`network.cidr` is `DARKROOM_NETWORK_CIDR`; lists and
 * maps as JSON). `DATABASE_URL` is `database.url`. The command line wins over the environment, the environment over the file.
 * The descriptions are the text of `docs/configuration.md`.
 */
export const configSchema = z.strictObject({
  stateDir: z
    .string()
    .startsWith('/', 'must be an absolute path')
    .default('/var/lib/darkroom')
    .describe('Everything that Darkroom keeps: database, layers, sandboxes, keys.'),
  listen: listenAddress.default('127.0.0.1:3986').describe('HOST:PORT to listen on; port 0 takes a free one.'),
  tls: z
    .strictObject({
      enabled: z
        .boolean()
        .default(false)
        .describe(
          'Serve https: with the certificate below, else with one of a local CA that is made in the state directory. `--tls` is the same.',
        ),
      certFile: z
        .string()
        .startsWith('/', 'must be an absolute path')
        .optional()
        .describe('A certificate (PEM, with what stands between it and its CA); read again when it changes.'),
      keyFile: z.string().startsWith('/', 'must be an absolute path').optional().describe('The key of it (PEM).'),
    })
    .refine(({ certFile, keyFile }) => (certFile === undefined) === (keyFile === undefined), {
      error: 'certFile and keyFile belong together',
    })
    .prefault({}),
  publicUrl: httpUrl
    .optional()
    .describe('How clients reach the server, where that is not the Host header of their request.'),
  log: z
    .strictObject({
      level: z
        .enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal'])
        .default('info')
        .describe('What is logged: this and everything more serious.'),
      format: z
        .enum(['auto', 'pretty', 'json'])
        .default('auto')
        .describe('`pretty` writes lines for people, `json` one object a line; `auto` is `pretty` on a terminal.'),
    })
    .prefault({}),
  database: z
    .strictObject({
      url: z
        .url({ protocol: /^postgres(ql)?$/, error: 'must be a URL such as postgresql://user:password@host:5432/name' })
        .optional()
        .describe(
          'An external PostgreSQL (15 or newer); without it an embedded one is started in the state directory.',
        ),
      maxConnections: z.int().min(3).max(200).default(10).describe('Most connections of this server to the database.'),
    })
    .prefault({}),
  pool: z
    .strictObject({
      maxBytes: bytes
        .optional()
        .describe(
          'Most that layers and sandboxes may take, where the pool is an image file; without it 80 % of the free disk.',
        ),
      makeRoomAtPercent: z
        .number()
        .min(1)
        .max(100)
        .default(85)
        .describe('When its file system is so full, what is needed least of the build cache is given up.'),
      refuseAtPercent: z
        .number()
        .min(1)
        .max(101)
        .default(95)
        .describe('When it is so full, nothing new is begun (507), so that what runs can go on; 101: never.'),
    })
    .refine(({ makeRoomAtPercent, refuseAtPercent }) => makeRoomAtPercent <= refuseAtPercent, {
      error: 'makeRoomAtPercent must not be above refuseAtPercent: room is made before work is refused',
    })
    .prefault({}),
  gc: z
    .strictObject({
      graceMinutes: z
        .number()
        .min(0)
        .max(7 * 24 * 60)
        .default(10)
        .describe(
          'What nothing needs any more is removed when that has been so for so many minutes. A full disk does not wait.',
        ),
      deleteStoppedAfterDays: z
        .number()
        .positive()
        .max(3650)
        .optional()
        .describe('Sandboxes that are stopped for so many days are deleted with their files; without it none.'),
    })
    .prefault({})
    .describe('What is removed by itself.'),
  runtime: z
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
        .describe(
          'How many ids follow `idBase`; each sandbox’s namespace is made under one of the million behind them.',
        ),
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
    .prefault({}),
  network: z
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
    .prefault({}),
  preview: z
    .strictObject({
      domain: z
        .string()
        .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:\d{1,5})?$/, 'must be a domain name')
        .optional()
        .describe(
          'Ports of sandboxes are shown at `{port}-{sandboxId}.DOMAIN`; a wildcard DNS name that leads here. `DOMAIN:PORT` where clients use another port than the one of `publicUrl`.',
        ),
      urls: z
        .enum(['auto', 'host', 'path'])
        .default('auto')
        .describe(
          'What preview URLs look like: `host` as above, `path` is `/preview/{sandboxId}/{port}`; `auto` is `host` where `preview.domain` is set or clients use a loopback address (then under `localhost`), else `path`.',
        ),
      maxConnections: z.int().min(1).default(1024).describe('Previewed requests and WebSockets at the same time.'),
      maxConnectionsPerSandbox: z.int().min(1).default(256).describe('The same, to one sandbox.'),
      idleSeconds: z
        .int()
        .min(1)
        .default(600)
        .describe('A previewed request in which nothing moves is ended after this.'),
    })
    .prefault({}),
  ssh: z
    .strictObject({
      enabled: z.boolean().default(true).describe('Whether people can log in to sandboxes by SSH.'),
      listen: listenAddress
        .optional()
        .describe(
          'HOST:PORT for SSH; port 0 takes a free one. Without it 127.0.0.1:2222, or a free port where that is taken.',
        ),
      publicAddress: z
        .string()
        .regex(/^[^:\s]+(:\d{1,5})?$|^\[[0-9a-fA-F:.]+\](:\d{1,5})?$/, 'must be HOST or HOST:PORT')
        .optional()
        .describe('HOST or HOST:PORT by which clients reach it, where that is not the address it listens on.'),
      maxConnections: z.int().min(1).max(100_000).default(500).describe('Most connections by SSH at the same time.'),
      idleSeconds: z
        .int()
        .min(10)
        .default(24 * 60 * 60)
        .describe('A connection over which nothing was sent for this long is closed.'),
    })
    .prefault({}),
  registries: z
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
    .prefault({}),
  builds: z
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
    .prefault({}),
  objectStore: z
    .strictObject({
      endpoint: httpUrl
        .optional()
        .describe(
          'An S3-compatible store that keeps the uploads of builds; without it they are kept beside the layers.',
        ),
      bucket: z.string().min(1).default('darkroom').describe('The bucket, which must be there.'),
      prefix: z
        .string()
        .regex(/^([^/].*\/)?$/, 'must end with a slash, and not begin with one')
        .default('contexts/')
        .describe('Stands before every name in the bucket.'),
      region: z.string().min(1).default('us-east-1').describe('The region that requests are signed for.'),
      accessKeyId: z
        .string()
        .min(1)
        .optional()
        .describe('The access key; without it what the AWS SDK finds in the environment or on the machine.'),
      secretAccessKey: z.string().min(1).optional().describe('The secret of the access key.'),
      pathStyle: z
        .boolean()
        .default(true)
        .describe('The bucket stands in the path, as most stores want it; `false`: in the host name.'),
    })
    .refine(({ accessKeyId, secretAccessKey }) => (accessKeyId === undefined) === (secretAccessKey === undefined), {
      error: 'accessKeyId and secretAccessKey belong together',
    })
    .prefault({}),
  defaultSnapshot: z
    .string()
    .min(1)
    .default('daytonaio/sandbox')
    .describe('The snapshot of a sandbox that names none.'),
  quotas: z
    .strictObject({
      maxCpuPerSandbox: z.number().positive().default(4).describe('Cores of one sandbox.'),
      maxMemoryPerSandbox: z.number().positive().default(8).describe('GiB of memory of one sandbox.'),
      maxDiskPerSandbox: z.number().positive().default(10).describe('GiB of disk of one sandbox.'),
      snapshots: z.int().min(0).default(100).describe('Snapshots of an organization that are not failed or inactive.'),
      maxSnapshotSizeGb: z.number().positive().default(20).describe('GB of one snapshot.'),
      totalCpu: z.number().positive().default(500).describe('Cores of all sandboxes of an organization together.'),
      totalMemory: z.number().positive().default(1000).describe('GiB of memory of all its sandboxes together.'),
      totalDisk: z.number().positive().default(5000).describe('GiB of disk of all its sandboxes together.'),
    })
    .prefault({})
    .describe('Given to organizations when they are made.'),
  rateLimits: z
    .strictObject({
      anonymous: z.int().positive().default(600).describe('Requests without a key, for each address.'),
      authenticated: z.int().positive().default(200_000).describe('Requests of one key.'),
      sandboxCreate: z.int().positive().default(6_000).describe('Sandboxes created with one key.'),
      sandboxLifecycle: z.int().positive().default(50_000).describe('Starts, stops and deletes with one key.'),
      failedAuth: z.int().positive().default(60).describe('Wrong keys from one address.'),
    })
    .prefault({})
    .describe('Requests a minute.'),
  exec: z
    .strictObject({
      maxOutputBytes: bytes
        .default(1024 * 1024 * 1024)
        .describe('Output of one command past this is dropped, and the result says so.'),
      maxSeconds: z
        .int()
        .positive()
        .default(24 * 60 * 60)
        .describe('A command without a time-out of its own is ended after this.'),
    })
    .prefault({}),
  keep: z
    .strictObject({
      eventDays: z.int().min(1).max(36_500).default(90).describe('Days that events are kept.'),
      auditDays: z.int().min(1).max(36_500).default(365).describe('Days that the audit log is kept.'),
      webhookDays: z.int().min(2).max(3_650).default(30).describe('Days that deliveries of webhooks are kept.'),
    })
    .prefault({})
    .describe('What is only looked back at.'),
  webhooks: z
    .strictObject({
      allowInternal: z
        .boolean()
        .default(false)
        .describe('Whether webhooks may go to loopback and private addresses, and over http.'),
      caFiles: z
        .array(z.string().startsWith('/', 'must be an absolute path'))
        .default([])
        .describe('Extra CA certificates (PEM files) of receivers.'),
    })
    .prefault({}),
  failpoints: z
    .string()
    .default('')
    .describe(
      'For tests of Darkroom itself: places where the server kills itself, fails or waits, as `seal.renamed=kill`, or `@FILE` to look there at each of them.',
    ),
  jobs: z
    .strictObject({
      pullConcurrency: z.int().min(1).max(32).default(4).describe('Pulls that run at the same time.'),
    })
    .prefault({}),
});

export type Config = z.infer<typeof configSchema>;
