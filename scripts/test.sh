#!/usr/bin/env bash
# Sets up what is missing, then runs every check and every test. Arguments go to the test runner instead, for a part:
# `npm test -- --project unit packages/server/src/images`.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/node/bin:$PWD/node_modules/.bin:$PATH"

scripts/setup.sh --test

# Mounts that a test makes, and leaves behind when it is killed, end with this namespace.
in_namespace() {
  if [ "$(id -u)" = 0 ]; then unshare --mount --propagation slave -- "$@"; else sudo -E unshare --mount --propagation slave -- env PATH="$PATH" "$@"; fi
}

step() { printf '\n== %s\n' "$*"; }

if [ $# -gt 0 ]; then
  in_namespace vitest run "$@"
  exit
fi

step 'format, lint, direction of imports'
biome check .
step 'types'
tsc -b
step 'rules and parsers'
vitest run --project unit
step 'the same database code on an external PostgreSQL'
scripts/with-external-postgres.sh vitest run --project unit platform/db platform/job-queue platform/events lifecycle snapshots tenancy http/daytona
step 'the machine: mounts, namespaces, containers'
in_namespace vitest run --project root
step 'end to end, with the official clients'
in_namespace vitest run --project e2e
