import { type ConfigInput, containerConfig } from '../container-config.ts';

/**
 * The same container, as runsc understands it: a user namespace that it makes itself, because it joins none; no filter, masked
 * path or device list, because nothing of the host's /proc, /sys and /dev is in there.
 */
export function gvisorConfig(input: ConfigInput, ids: { base: number; count: number }): object {
  const { mounts, ...config } = containerConfig({ ...input, appArmorProfile: undefined, seccomp: { profile: {} } });
  const mapping = [{ containerID: 0, hostID: ids.base, size: ids.count }];
  return {
    ...config,
    mounts: mounts.filter(({ type }) => type !== 'cgroup'),
    linux: {
      namespaces: [
        { type: 'network', path: input.namespaces.netPath },
        ...['user', 'pid', 'mount', 'ipc', 'uts'].map((type) => ({ type })),
      ],
      uidMappings: mapping,
      gidMappings: mapping,
    },
  };
}
