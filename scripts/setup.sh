#!/usr/bin/env bash
# Installs what is missing and says what it does: Debian packages (as root or through sudo) and the pinned npm packages.
# Does nothing, and needs no network, when all is there. `--test` adds what only the tests need.
set -euo pipefail
cd "$(dirname "$0")/.."

runtime_packages=(crun nftables iproute2 catatonit tini xfsprogs e2fsprogs util-linux mount ca-certificates openssl bzip2 xz-utils git)
image_packages=(mmdebstrap docker-registry skopeo umoci)
test_packages=(buildah curl postgresql python3-venv busybox-static attr procps zstd openssh-client faketime)

packages=("${runtime_packages[@]}" "${image_packages[@]}")
[ "${1:-}" = --test ] && packages+=("${test_packages[@]}")

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

say() { printf 'setup: %s\n' "$*"; }

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done

if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    say "please install: ${missing[*]} (this machine has no apt-get)"
    exit 1
  fi
  say "installing Debian packages: ${missing[*]}"
  # Registry and database packages bring services; we run the programs ourselves, so none may start by itself.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
    as_root chmod 755 /usr/sbin/policy-rc.d
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  log=$(mktemp)
  if ! { as_root apt-get update -qq &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 20 "$log"
    say "apt-get failed (whole output: $log)"
    exit 1
  fi
  rm -f "$log"
fi

stamp=node_modules/.darkroom-lock
if ! cmp -s package-lock.json "$stamp"; then
  say 'installing npm packages (Node 24 is one of them)'
  # Not `npm ci`: it refuses where a mirror lacks optional packages of other platforms. Versions come from the lockfile all the same.
  npm install --no-save --loglevel=error --no-audit --no-fund
  cp package-lock.json "$stamp"
fi
