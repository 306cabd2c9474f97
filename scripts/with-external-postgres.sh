#!/usr/bin/env bash
# Runs a command against a PostgreSQL of the system instead of the embedded one:
#   scripts/with-external-postgres.sh npx vitest run --project unit
# A private cluster in a temporary directory on a free port; nothing of the system's own PostgreSQL is touched.
set -euo pipefail

if [ $# -eq 0 ]; then
  echo "usage: $0 COMMAND [ARGUMENT...]" >&2
  exit 2
fi

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true)
if [ -z "$bin" ] || [ ! -x "$bin/postgres" ]; then
  echo "PostgreSQL is not installed (apt-get install postgresql)." >&2
  exit 2
fi

run_as=()
directory=$(mktemp -d /tmp/darkroom-external-postgres.XXXXXX)
if [ "$(id -u)" -eq 0 ]; then
  user=postgres
  getent passwd "$user" >/dev/null || user=nobody
  run_as=(setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups)
  chown "$user" "$directory"
fi

server=
clean_up() {
  if [ -n "$server" ] && kill -INT "$server" 2>/dev/null; then
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$directory"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cd /
password=$(head -c 24 /dev/urandom | base64 | tr -dc 'A-Za-z0-9')
printf '%s\n' "$password" >"$directory/password"
[ ${#run_as[@]} -eq 0 ] || chown "$user" "$directory/password"
"${run_as[@]}" "$bin/initdb" -D "$directory/data" -U darkroom --auth=scram-sha-256 --pwfile="$directory/password" \
  --encoding=UTF8 --locale=C.UTF-8 >"$directory/initdb.log" 2>&1 || { cat "$directory/initdb.log" >&2; exit 1; }

# Another process may take the port between asking and using it; then the next one is tried.
for _ in 1 2 3 4 5; do
  port=$(shuf -i 20000-32000 -n 1)
  "${run_as[@]}" "$bin/postgres" -D "$directory/data" -c listen_addresses=127.0.0.1 -c port="$port" \
    -c unix_socket_directories="$directory" -c max_connections=300 >"$directory/server.log" 2>&1 &
  server=$!
  for _ in $(seq 100); do
    "$bin/pg_isready" -q -h 127.0.0.1 -p "$port" && break 2
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  kill -INT "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=
done
if [ -z "$server" ]; then
  cat "$directory/server.log" >&2
  exit 1
fi

cd - >/dev/null
echo "$("$bin/postgres" --version) on port $port" >&2
DARKROOM_TEST_DATABASE_URL="postgresql://darkroom:$password@127.0.0.1:$port/postgres" "$@"
