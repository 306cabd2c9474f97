import { z } from 'zod';

export const portPreviewUrlSchema = z.object({ sandboxId: z.string(), url: z.string(), token: z.string() });
export type PortPreviewUrlDto = z.infer<typeof portPreviewUrlSchema>;

export const signedPortPreviewUrlSchema = portPreviewUrlSchema.extend({ port: z.number() });
export type SignedPortPreviewUrlDto = z.infer<typeof signedPortPreviewUrlSchema>;

export const portListSchema = z.object({ ports: z.array(z.number()) });
export const portInUseSchema = z.object({ isInUse: z.boolean() });
