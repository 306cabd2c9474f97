import { z } from 'zod';

/** `credentials.json` in the state directory (mode 0600): how the CLI and the quickstart find and enter the server. */
export const credentialsSchema = z.object({
  /** Base URL of the server without a path, for example `http://127.0.0.1:3986`. The Daytona API is `{url}/api`. */
  url: z.url(),
  apiKey: z.string().min(1),
  organizationId: z.uuid(),
});
export type Credentials = z.infer<typeof credentialsSchema>;
