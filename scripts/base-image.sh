#!/usr/bin/env bash
# Makes a base image from Debian packages, for machines that reach no public image registry: what the official
# python:*-slim-bookworm images promise (python, python3 and pip on the PATH, pip free to install), as an OCI layout of two layers.
# Usage: scripts/base-image.sh LAYOUT_DIR   (makes LAYOUT_DIR with the tag `python`)
set -euo pipefail
layout=$1
[ -e "$layout/index.json" ] && exit 0

work=$(mktemp -d "${TMPDIR:-/tmp}/darkroom-image.XXXXXX")
trap 'rm -rf "$work"' EXIT

mmdebstrap --quiet --mode=root --variant=minbase \
  --include=python3,python3-pip,python3-venv,ca-certificates \
  --aptopt='APT::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --essential-hook="cp -ax \"\$1\" '$work/base'" \
  --customize-hook='ln -s /usr/bin/python3 "$1/usr/local/bin/python"' \
  --customize-hook='ln -s /usr/bin/pip3 "$1/usr/local/bin/pip"' \
  --customize-hook='rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED' \
  bookworm "$work/full"

# The first layer is Debian's essential packages, the second what Python adds to them.
rm -rf "$work/base"/var/cache/apt/archives/*.deb "$work/base"/var/lib/apt/lists/*
umoci init --layout "$work/layout"
umoci new --image "$work/layout:python"
umoci unpack --image "$work/layout:python" "$work/bundle"
for tree in base full; do
  rm -rf "$work/bundle/rootfs"
  mv "$work/$tree" "$work/bundle/rootfs"
  umoci repack --refresh-bundle --image "$work/layout:python" "$work/bundle"
done
umoci config --image "$work/layout:python" \
  --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  --config.env LANG=C.UTF-8 --config.cmd python3
umoci gc --layout "$work/layout"

mkdir -p "$(dirname "$layout")"
rm -rf "$layout.new"
cp -a "$work/layout" "$layout.new"
mv -T "$layout.new" "$layout"
