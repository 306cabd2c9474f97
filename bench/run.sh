#!/usr/bin/env bash
# Runs one benchmark (start, exec, pull, api, files, build, capture, fork) with its peers in a network and mount namespace of its own: what Docker and
# Podman do to interfaces and firewall stays in there. Usage: bench/run.sh NAME [ARGS]
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || exec sudo -E "$0" "$@"
scripts/setup.sh
name=$1
shift
peers=(docker.io podman iptables)
# Steps of builds install packages, so the namespace gets a way out that changes nothing on this machine.
[ "$name" != build ] || peers+=(buildah slirp4netns curl)
missing=()
for package in "${peers[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "bench: installing peers: ${missing[*]}"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
within='ip link set lo up; umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
command=("$PWD/node_modules/node/bin/node" "bench/$name.ts" "$@")
[ "$name" = build ] || exec unshare --mount --net --propagation slave -- sh -c "$within" sh "${command[@]}"

way_out='for i in $(seq 200); do ip route | grep -q ^default && break; sleep 0.05; done; '
unshare --mount --net --propagation slave -- sh -c "$way_out$within" sh "${command[@]}" &
bench=$!
trap 'kill $bench 2>/dev/null || true' INT TERM
until [ "$(readlink /proc/$bench/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
slirp4netns --configure --mtu=65520 $bench tap0 >/dev/null 2>&1 &
way=$!
wait $bench && status=0 || status=$?
kill $way 2>/dev/null || true
exit $status
