import { z } from 'zod';
import { httpUrl, listenAddress } from './config/fields.ts';
import { buildsSettings, registriesSettings } from './config/images.ts';
import { networkSettings, runtimeSettings } from './config/machine.ts';
import { databaseSettings, gcSettings, keepSettings, objectStoreSettings, poolSettings } from './config/storage.ts';
import {
  execSettings,
  previewSettings,
  rateLimitsSettings,
  sshSettings,
  tlsSettings,
  webhooksSettings,
} from './config/surfaces.ts';

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
  tls: tlsSettings,
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
  database: databaseSettings,
  pool: poolSettings,
  gc: gcSettings,
  runtime: runtimeSettings,
  network: networkSettings,
  preview: previewSettings,
  ssh: sshSettings,
  registries: registriesSettings,
  builds: buildsSettings,
  objectStore: objectStoreSettings,
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
  rateLimits: rateLimitsSettings,
  exec: execSettings,
  keep: keepSettings,
  webhooks: webhooksSettings,
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
