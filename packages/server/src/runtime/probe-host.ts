import { constants } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { errnoOf } from '../platform/errors.ts';
import { missingControllers, readCgroupLayout } from './cgroup-layout.ts';
import { fail, ok, type ProbeResult, warn } from './probe-check.ts';

/** openat2(2), which keeps file calls inside a sandbox. */
const OLDEST_KERNEL: Version = [5, 6];
/** What the project is tested on begins here. */
const TESTED_KERNEL: Version = [5, 10];
const GIB = 1024 ** 3;

type Version = readonly [major: number, minor: number];

export function probeUser(isRoot: boolean): ProbeResult {
  return isRoot ? ok('root') : fail('not root', 'Run this with sudo; sandboxes themselves run under unprivileged ids.');
}

export function probeKernel(version = release(), architecture: string = process.arch): ProbeResult {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  const found = `Linux ${version}, ${architecture}`;
  if (isOlder([major, minor], OLDEST_KERNEL)) return fail(found, `Use Linux ${OLDEST_KERNEL.join('.')} or newer.`);
  if (architecture !== 'x64' && architecture !== 'arm64') return fail(found, 'Use an amd64 or arm64 machine.');
  if (isOlder([major, minor], TESTED_KERNEL))
    return warn(found, `Linux ${TESTED_KERNEL.join('.')} or newer is tested.`);
  return ok(found);
}

function isOlder(version: Version, than: Version): boolean {
  return version[0] < than[0] || (version[0] === than[0] && version[1] < than[1]);
}

export async function probeCgroups(): Promise<ProbeResult> {
  const layout = await readCgroupLayout();
  if (layout.mode === 'none') return fail('none are mounted', 'Mount them: `mount -t cgroup2 none /sys/fs/cgroup`.');
  const missing = missingControllers(layout);
  const found = `${layout.mode === 'hybrid' ? 'hybrid (used as v1)' : layout.mode}: ${[...layout.controllers.keys()].sort().join(', ')}`;
  if (missing.length === 0) return ok(found);
  return fail(
    `${found || layout.mode}; missing: ${missing.join(', ')}`,
    'Remove `cgroup_disable=` from the kernel command line (some boards need `cgroup_enable=memory`).',
  );
}

export async function probeMemory(): Promise<ProbeResult> {
  const text = await readFile('/proc/meminfo', 'utf8');
  const kib = (key: string) => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  const available = kib('MemAvailable') * 1024;
  const found = `${gib(available)} GiB of ${gib(kib('MemTotal') * 1024)} GiB free`;
  return available < GIB
    ? warn(found, 'The server takes about 0.3 GiB with its database; sandboxes come on top.')
    : ok(found);
}

export async function probeForwarding(): Promise<ProbeResult> {
  const path = '/proc/sys/net/ipv4/ip_forward';
  if ((await readFile(path, 'utf8')).trim() === '1') return ok('on');
  const advice = 'Sandboxes reach no network without it: `sysctl -w net.ipv4.ip_forward=1`.';
  return access(path, constants.W_OK).then(
    () => ok('off; turned on at start'),
    () => warn('off, and cannot be turned on from here', advice),
  );
}

/** Loopback name servers of the host answer nobody in a sandbox. */
export async function probeNameServer(configured: readonly string[] | undefined): Promise<ProbeResult> {
  if (configured !== undefined && configured.length > 0) return ok(`${configured.join(', ')} (configured)`);
  const servers = [
    ...(await nameServers('/etc/resolv.conf')),
    // What stands behind systemd-resolved's loopback address.
    ...(await nameServers('/run/systemd/resolve/resolv.conf')),
  ];
  const usable = servers.filter((address) => !/^(127\.|::1$|0\.0\.0\.0$)/.test(address));
  if (usable.length > 0) return ok([...new Set(usable)].join(', '));
  const found =
    servers.length === 0 ? 'none in /etc/resolv.conf' : `only ${servers.join(', ')}, which sandboxes cannot reach`;
  return warn(found, 'Names will not resolve in sandboxes; set network.dns to a server that they can reach.');
}

async function nameServers(file: string): Promise<string[]> {
  try {
    const text = await readFile(file, 'utf8');
    return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].flatMap(([, address]) =>
      address === undefined ? [] : [address],
    );
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

export function gib(bytes: number): string {
  return (bytes / GIB).toFixed(1);
}
