import { z } from 'zod';
import { bytes, listenAddress } from './fields.ts';

export const tlsSettings = z
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
  .prefault({});

export const previewSettings = z
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
  .prefault({});

export const sshSettings = z
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
  .prefault({});

export const rateLimitsSettings = z
  .strictObject({
    anonymous: z.int().positive().default(600).describe('Requests without a key, for each address.'),
    authenticated: z.int().positive().default(200_000).describe('Requests of one key.'),
    sandboxCreate: z.int().positive().default(6_000).describe('Sandboxes created with one key.'),
    sandboxLifecycle: z.int().positive().default(50_000).describe('Starts, stops and deletes with one key.'),
    failedAuth: z.int().positive().default(60).describe('Wrong keys from one address.'),
  })
  .prefault({})
  .describe('Requests a minute.');

export const execSettings = z
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
  .prefault({});

export const webhooksSettings = z
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
  .prefault({});
