import { z } from 'zod';

export const regionSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    organizationId: z.string().nullable(),
    regionType: z.enum(['shared', 'dedicated', 'custom']),
    createdAt: z.string(),
    updatedAt: z.string(),
    proxyUrl: z.string().nullable(),
    sshGatewayUrl: z.string().nullable(),
    snapshotManagerUrl: z.string().nullable(),
  })
  .meta({ id: 'Region' });
export type RegionDto = z.infer<typeof regionSchema>;
