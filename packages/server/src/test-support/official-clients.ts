import * as newest from '@daytona/sdk';
import * as v0190 from 'daytona-sdk-0190';
import * as legacy from 'daytona-sdk-legacy';
import type { ServerLab } from './set-up-server.ts';

/** The SDKs of Daytona, unmodified, as their users run them; with their names, for `describe.each`. */
export function officialClients(lab: Pick<ServerLab, 'server' | 'apiKey'>) {
  const connection = () => ({ apiKey: lab.apiKey, apiUrl: `${lab.server.url}/api` });
  const connectOldest = () => new v0190.Daytona(connection());
  const connectNewest = () => new newest.Daytona(connection());
  const newer = [
    ['@daytonaio/sdk newest', () => new legacy.Daytona(connection())],
    ['@daytona/sdk newest', connectNewest],
  ] as const;
  return { clients: [['@daytonaio/sdk 0.190', connectOldest], ...newer] as const, newer, connectOldest, connectNewest };
}
