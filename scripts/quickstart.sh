#!/usr/bin/env bash
# From a fresh clone to code running in a sandbox: sets up what is missing, then runs quickstart.ts under the pinned Node.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
node="$PWD/node_modules/node/bin/node"
if [ "$(id -u)" = 0 ]; then
  exec "$node" scripts/quickstart.ts "$@"
fi
echo 'Sandboxes are made by root: going on through sudo.'
exec sudo -E "$node" scripts/quickstart.ts "$@"
