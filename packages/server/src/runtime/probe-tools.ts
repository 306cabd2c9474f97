import { run } from '../platform/process.ts';
import { hasAppArmor } from './app-armor.ts';
import { firewallRules } from './network/firewall-rules.ts';
import { rulesFor } from './network/sandbox-rules.ts';
import { CHECK_TIMEOUT_MS, fail, ok, type ProbeResult, warn } from './probe-check.ts';

const LIMIT = { timeoutMs: CHECK_TIMEOUT_MS };

export async function probeCrun(command: string): Promise<ProbeResult> {
  const { stdout } = await run(command, ['--version'], LIMIT);
  const version = /^crun version (\S+)/m.exec(stdout)?.[1];
  if (version === undefined) return fail(`${command} is not crun`, 'Set runtime.crun to the path of crun.');
  if (!stdout.includes('+SECCOMP'))
    return fail(`${version}, built without seccomp`, 'Install the crun of your distribution.');
  return ok(`${version}, with seccomp`);
}

/** Asks the kernel for the very table that guards sandboxes, with a policy of every kind, and takes nothing of it (`--check`). */
export async function probeNftables(): Promise<ProbeResult> {
  const block = { index: 0, hostInterface: 'drprobe0', address: '192.0.2.2', gateway: '192.0.2.1' };
  const policy = { blockAll: true, allowRanges: ['203.0.113.0/24'], bandwidth: { inMbps: 1, outMbps: 1 } };
  const rules = firewallRules({
    tag: `probe_${process.pid}`,
    cidr: '192.0.2.0/24',
    interfacePrefix: 'drprobe',
    nameServers: ['192.0.2.53'],
    allowPrivate: ['10.0.0.0/8'],
    sandboxes: [rulesFor(block, policy, 1)],
    open: [{ from: block.address, to: '203.0.113.1', seconds: 1 }],
  });
  await run('nft', ['list', 'tables'], LIMIT);
  await run('nft', ['--check', '--file', '-'], { ...LIMIT, input: rules });
  const { stdout } = await run('nft', ['--version'], LIMIT);
  return ok(
    `${/v[\d.]+/.exec(stdout)?.[0] ?? 'present'}; filter, NAT, connection tracking, lists and limits of bandwidth work`,
  );
}

/** Makes a pair of interfaces in a network namespace that ends with the command. */
export async function probeInterfaces(): Promise<ProbeResult> {
  await run(
    'unshare',
    ['--net', 'ip', 'link', 'add', 'name', 'probe0', 'type', 'veth', 'peer', 'name', 'probe1'],
    LIMIT,
  );
  const { stdout } = await run('ip', ['-Version'], LIMIT);
  return ok(`${/iproute2-\S+?(?=,|\s|$)/.exec(stdout)?.[0] ?? 'ip'}; network namespaces and veth pairs work`);
}

export async function probeInit(): Promise<ProbeResult> {
  const [catatonit, tini] = await Promise.all([
    run('catatonit', ['--version'], LIMIT),
    run('tini-static', ['--version'], LIMIT),
  ]);
  const version = (text: string) => /(\d+\.\d+\.\d+)/.exec(text)?.[1] ?? 'present';
  return ok(`catatonit ${version(catatonit.stdout)}, tini-static ${version(tini.stdout)}`);
}

/** They print their version where others print errors. */
export async function probeDiskTools(): Promise<ProbeResult> {
  const { stderr } = await run('mkfs.ext4', ['-V'], LIMIT);
  await run('e2fsck', ['-V'], LIMIT);
  await run('resize2fs', [], { ...LIMIT, okCodes: [1] });
  return ok(`e2fsprogs ${/(\d+\.\d+\.\d+)/.exec(stderr)?.[1] ?? 'present'}; disks of sandboxes can be made`);
}

/** The profile itself is tried when the server starts: this leaves the kernel as it is. */
export async function probeAppArmor(): Promise<ProbeResult> {
  if (!(await hasAppArmor())) return ok('not on this machine; the other fences stand without it');
  return run('apparmor_parser', ['--version'], LIMIT).then(
    () => ok('on; sandboxes get a profile of their own'),
    () => warn('on, without apparmor_parser to load a profile', 'apt-get install apparmor'),
  );
}
