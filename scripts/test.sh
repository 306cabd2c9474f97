#!/usr/bin/env bash
# Sets up what is missing, then runs every check and every test. Arguments go to the test runner instead, for a part:
# `npm test -- --project unit packages/server/src/images`.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/node/bin:$PWD/node_modules/.bin:$PATH"

scripts/setup.sh --test

# Mounts that a test makes, and leaves behind when it is killed, end with this namespace.
in_namespace=(unshare --mount --propagation slave --)
[ "$(id -u)" = 0 ] || in_namespace=(sudo -E "${in_namespace[@]}" env PATH="$PATH")

step() { printf '\n== %s\n' "$*"; }

if [ $# -gt 0 ]; then
  "${in_namespace[@]}" vitest run "$@"
  exit
fi

step 'format, lint, direction of imports'
biome check .
step 'types'
tsc -b
# They share nothing with the others but the machine, and take as long as all of those together; what they say is kept until those are done.
e2e_output=$(mktemp)
"${in_namespace[@]}" vitest run --project e2e >"$e2e_output" 2>&1 &
e2e=$!
# What fails in a trap becomes the status of the whole, and these tests may have ended by then.
trap 'kill "$e2e" 2>/dev/null || true; rm -f "$e2e_output"' EXIT

failed=0
step 'rules and parsers (the end-to-end tests run beside all that follows)'
vitest run --project unit || failed=1
step 'the same database code on an external PostgreSQL'
scripts/with-external-postgres.sh vitest run --project unit platform/db platform/job-queue platform/events lifecycle snapshots tenancy http/daytona || failed=1
step 'the machine: mounts, namespaces, containers'
"${in_namespace[@]}" vitest run --project root || failed=1
step 'end to end, with the official clients'
tail -n +1 -f --pid="$e2e" "$e2e_output"
wait "$e2e" || failed=1
trap 'rm -f "$e2e_output"' EXIT
exit "$failed"
