import { z } from 'zod';

const cidr = z.union([z.cidrv4(), z.cidrv6()]);
const bytes = z.int().positive();

/**
 * Every setting of the server. Each can stand in the configuration file (YAML), under the name it has here, and in the
 * environment as `DARKROOM_` + the path in upper snake case (`network.cidr` is `DARKROOM_NETWORK_CIDR`; lists and
 * maps as JSON). `DATABASE_URL` is `database.url`. The command line wins over the environment, the environment over the file.
 */
export const configSchema = z.strictObject({
  /** Everything that Darkroom keeps: database, layers, sandboxes, keys. */
  stateDir: z.string().startsWith('/', 'must be an absolute path').default('/var/lib/darkroom'),
  /** HOST:PORT; port 0 takes a free one. */
  listen: z
    .string()
    .regex(/^(\[[0-9a-fA-F:.]+\]|[^:\s]+):\d{1,5}$/, 'must be HOST:PORT, for example 127.0.0.1:3986')
    .default('127.0.0.1:3986'),
  /** How clients reach the server, where that is not the Host header of their request. */
  publicUrl: z.url().optional(),
  log: z
    .strictObject({
      level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
      /** `pretty` writes lines for people, `json` one object a line; `auto` decides by the terminal. */
      format: z.enum(['auto', 'pretty', 'json']).default('auto'),
    })
    .prefault({}),
  database: z
    .strictObject({
      /** An external PostgreSQL; without it an embedded one is started in the state directory. */
      url: z.url({ protocol: /^postgres(ql)?$/ }).optional(),
      maxConnections: z.int().min(3).max(200).default(10),
    })
    .prefault({}),
  pool: z
    .strictObject({
      /** Most that layers and sandboxes may take, where the pool is an image file; by default 80 % of the free disk. */
      maxBytes: bytes.optional(),
    })
    .prefault({}),
  runtime: z
    .strictObject({
      crun: z.string().default('crun'),
      /** Host uid and gid that is root in every sandbox, and how many follow it. */
      idBase: z.int().min(65536).max(2_000_000_000).default(1_000_000_000),
      idCount: z.int().min(65536).max(1_000_000_000).default(1_000_000_000),
      pidsLimit: z.int().min(16).default(1024),
      /** Network namespaces made ahead of time. */
      readyNamespaces: z.int().min(0).max(1024).default(32),
      /** Sandboxes started at the same time; more wait their turn. */
      startConcurrency: z.int().min(1).max(256).default(8),
    })
    .prefault({}),
  network: z
    .strictObject({
      /** Addresses of sandboxes; each takes a /30. */
      cidr: z.cidrv4().default('10.213.0.0/16'),
      /** Private ranges that sandboxes may reach all the same. */
      allowPrivate: z.array(cidr).default([]),
      /** Name servers that sandboxes use; by default the host's. */
      dns: z.array(z.union([z.ipv4(), z.ipv6()])).optional(),
    })
    .prefault({}),
  registries: z
    .strictObject({
      /** Where to fetch images of a registry instead: `{"docker.io": ["https://mirror.example"]}`; tried in order, then the registry itself. */
      mirrors: z.record(z.string(), z.array(z.url({ protocol: /^https?$/ }))).default({}),
      /** Registries that may be talked to over http; loopback ones may in any case. */
      insecure: z.array(z.string()).default([]),
      /** Extra CA certificates (PEM files). */
      caFiles: z.array(z.string()).default([]),
      /** Layers fetched at the same time in one pull. */
      concurrency: z.int().min(1).max(16).default(4),
    })
    .prefault({}),
  /** Images to make a snapshot of at start, and the one that a sandbox gets which names none. */
  defaultSnapshot: z.string().default('daytonaio/sandbox'),
  /** Given to organizations when they are made. */
  quotas: z
    .strictObject({
      maxCpuPerSandbox: z.number().positive().default(4),
      maxMemoryPerSandbox: z.number().positive().default(8),
      maxDiskPerSandbox: z.number().positive().default(10),
      snapshots: z.int().min(0).default(100),
      maxSnapshotSizeGb: z.number().positive().default(20),
      totalCpu: z.number().positive().default(500),
      totalMemory: z.number().positive().default(1000),
      totalDisk: z.number().positive().default(5000),
    })
    .prefault({}),
  /** Requests a minute. */
  rateLimits: z
    .strictObject({
      anonymous: z.int().positive().default(600),
      authenticated: z.int().positive().default(200_000),
      sandboxCreate: z.int().positive().default(6_000),
      sandboxLifecycle: z.int().positive().default(50_000),
      failedAuth: z.int().positive().default(60),
    })
    .prefault({}),
  exec: z
    .strictObject({
      /** Output of one command past this is dropped, and the result says so. */
      maxOutputBytes: bytes.default(1024 * 1024 * 1024),
      /** A command without a time-out of its own is ended after this. */
      maxSeconds: z
        .int()
        .positive()
        .default(24 * 60 * 60),
    })
    .prefault({}),
  jobs: z
    .strictObject({
      /** Pulls that run at the same time. */
      pullConcurrency: z.int().min(1).max(32).default(4),
    })
    .prefault({}),
});

export type Config = z.infer<typeof configSchema>;
