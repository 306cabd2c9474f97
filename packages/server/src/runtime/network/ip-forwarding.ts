import { readFileSync, writeFileSync } from 'node:fs';
import { DarkroomError } from '../../platform/errors.ts';
import type { NetworkLog } from './network-log.ts';

const IP_FORWARD = '/proc/sys/net/ipv4/ip_forward';

/** Without it nothing leaves a sandbox's network. It stays on when the server ends: its sandboxes go on running. */
export function enableForwarding(log: NetworkLog): void {
  if (readFileSync(IP_FORWARD, 'utf8').trim() === '1') return;
  try {
    writeFileSync(IP_FORWARD, '1');
  } catch (cause) {
    throw new DarkroomError('internal', 'turn on net.ipv4.ip_forward', {
      cause,
      hint: 'Sandboxes reach the network through it: set net.ipv4.ip_forward=1 on this host.',
    });
  }
  log.warn({}, 'net.ipv4.ip_forward was off; turned it on, sandboxes reach the network through it');
}
