/**
 * Every call of runsc gets the same, also the probe's. Limits are the cgroup's, into which it is started. Writes go to our overlay,
 * where captures and file calls find them, so no overlay of its own, and no memory of files that others may change.
 */
export const RUNSC_FLAGS = [
  '--ignore-cgroups',
  '--network=sandbox',
  '--platform=systrap',
  '--overlay2=none',
  '--file-access=shared',
  '--net-raw=false',
  '--host-uds=none',
] as const;

/**
 * Releases before 2025 take a network namespace for the host's first one when it shows `rmem_default`, which kernels since 6.11
 * show in all: they get to see an empty directory. Arguments: the namespace, then what to run.
 */
export const HIDE_CORE_SETTINGS =
  'nsenter --net="$1" mount -t tmpfs -o mode=0755,size=4k darkroom /proc/sys/net/core; shift; exec "$@"';

/** Arguments: cgroup.procs files, `--`, and what to run in these cgroups. */
export const JOIN_CGROUPS = 'while [ "$1" != -- ]; do echo 0 > "$1"; shift; done; shift; exec "$@"';
