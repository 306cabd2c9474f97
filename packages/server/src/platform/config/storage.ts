import { z } from 'zod';
import { bytes, httpUrl } from './fields.ts';

export const databaseSettings = z
  .strictObject({
    url: z
      .url({ protocol: /^postgres(ql)?$/, error: 'must be a URL such as postgresql://user:password@host:5432/name' })
      .optional()
      .describe('An external PostgreSQL (15 or newer); without it an embedded one is started in the state directory.'),
    maxConnections: z.int().min(3).max(200).default(10).describe('Most connections of this server to the database.'),
  })
  .prefault({});

export const poolSettings = z
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
  .prefault({});

export const gcSettings = z
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
  .describe('What is removed by itself.');

export const objectStoreSettings = z
  .strictObject({
    endpoint: httpUrl
      .optional()
      .describe('An S3-compatible store that keeps the uploads of builds; without it they are kept beside the layers.'),
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
  .prefault({});

export const keepSettings = z
  .strictObject({
    eventDays: z.int().min(1).max(36_500).default(90).describe('Days that events are kept.'),
    auditDays: z.int().min(1).max(36_500).default(365).describe('Days that the audit log is kept.'),
    webhookDays: z.int().min(2).max(3_650).default(30).describe('Days that deliveries of webhooks are kept.'),
  })
  .prefault({})
  .describe('What is only looked back at.');
