import { z } from 'zod';
import { text } from '../text.ts';

const filled = text.min(1).max(2048);

export const dockerRegistrySchema = z
  .object({
    id: z.uuid(),
    name: z.string(),
    url: z.string(),
    username: z.string(),
    project: z.string(),
    registryType: z.enum(['internal', 'organization', 'transient', 'backup']),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
  })
  .meta({ id: 'DockerRegistry' });
export type DockerRegistryDto = z.infer<typeof dockerRegistrySchema>;

export const createDockerRegistrySchema = z
  .object({
    name: filled,
    url: filled,
    username: filled,
    password: text.min(1).max(65536),
    project: text.max(2048).nullish(),
    registryType: z.string().nullish(),
  })
  .meta({ id: 'CreateDockerRegistry' });

export const updateDockerRegistrySchema = z
  .object({
    name: filled.nullish(),
    url: filled.nullish(),
    username: filled.nullish(),
    password: text.min(1).max(65536).nullish(),
    project: text.max(2048).nullish(),
  })
  .meta({ id: 'UpdateDockerRegistry' });
