#!/usr/bin/env bash
# Runs one benchmark (start, exec, pull, api, files) with its peers in a network and mount namespace of its own: what Docker and Podman do to
# interfaces and firewall stays in there. Usage: bench/run.sh NAME [ARGS]
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || exec sudo -E "$0" "$@"
scripts/setup.sh
missing=()
for package in docker.io podman iptables; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "bench: installing peers: ${missing[*]}"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
name=$1
shift
exec unshare --mount --net --propagation slave -- sh -c 'ip link set lo up; umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"' sh "$PWD/node_modules/node/bin/node" "bench/$name.ts" "$@"
