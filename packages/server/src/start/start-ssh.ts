import { parseListen } from '../platform/config.ts';
import type { Config } from '../platform/config-schema.ts';
import type { Sandboxes } from '../sandboxes/index.ts';
import { openSshGateway, type SshGateway } from '../ssh/gateway.ts';
import type { Ground } from './ground.ts';

/** Undefined where it is switched off. */
export async function startSsh(ground: Ground, { ssh: access }: Sandboxes): Promise<SshGateway | undefined> {
  const { config, log, closers } = ground;
  if (!config.ssh.enabled) return undefined;
  const gateway = await openSshGateway({
    access,
    stateDir: config.stateDir,
    listen: config.ssh.listen === undefined ? undefined : parseListen(config.ssh.listen),
    publicAddress: publicAddressOf(config),
    maxConnections: config.ssh.maxConnections,
    idleMs: config.ssh.idleSeconds * 1000,
    maxFailedLogins: config.rateLimits.failedAuth,
    log,
  });
  closers.add('SSH', () => gateway.close());
  log.info({ ...gateway.address, hostKey: gateway.hostKey.fingerprint }, 'SSH is open');
  return gateway;
}

function publicAddressOf({ ssh, publicUrl }: Config): { host: string; port: number | undefined } | undefined {
  // The name by which clients reach the API is the best guess for this, too.
  const address = ssh.publicAddress ?? (publicUrl === undefined ? undefined : new URL(publicUrl).hostname);
  if (address === undefined) return undefined;
  const [, host = '', port] = /^(.*?)(?::(\d+))?$/.exec(address) ?? [];
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port: port === undefined ? undefined : Number(port) };
}
