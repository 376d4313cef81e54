# shellcheck shell=bash
# A PostgreSQL server for the tests: the one that is there, or a private one that ends with the script.

# Sets BEAMLINE_TEST_POSTGRES_URL. What it starts is stopped by stop_postgres.
ensure_postgres() {
  [ -z "${BEAMLINE_TEST_POSTGRES_URL:-}" ] || return 0
  local usual=postgres://postgres@127.0.0.1:5432/postgres
  find_postgres_programs
  if has psql && psql --no-password --no-psqlrc -Atqc 'select 1' "$usual?connect_timeout=3" >/dev/null 2>&1; then
    export BEAMLINE_TEST_POSTGRES_URL=$usual
    return
  fi
  if ! has initdb; then
    say "PostgreSQL is missing: installing it"
    install_postgres || fail "PostgreSQL cannot be installed here. Name a server in BEAMLINE_TEST_POSTGRES_URL."
    find_postgres_programs
  fi
  start_private_postgres
}

# Distributions keep initdb and pg_ctl out of the PATH.
find_postgres_programs() {
  local directory
  for directory in /usr/lib/postgresql/*/bin /usr/libexec/postgresql* /opt/homebrew/opt/postgresql*/bin; do
    if [ -x "$directory/initdb" ]; then export PATH="$PATH:$directory"; fi
  done
}

install_postgres() {
  # Debian would create and start a cluster of its own on the usual port.
  if has apt-get && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    as_root mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  if has dnf; then install_package postgresql-server; else install_package postgresql; fi
}

# initdb refuses to run as root.
as_postgres() {
  if [ "$(id -u)" -ne 0 ]; then "$@"
  elif has runuser; then runuser -u "$postgres_user" -- "$@"
  else su -s /bin/sh "$postgres_user" -c '"$0" "$@"' -- "$@"
  fi
}

start_private_postgres() {
  postgres_user=$(id -un)
  if [ "$(id -u)" -eq 0 ]; then
    postgres_user=$(getent passwd postgres >/dev/null 2>&1 && echo postgres || echo nobody)
  fi
  postgres_directory=$(mktemp -d "${TMPDIR:-/tmp}/beamline-postgres.XXXXXX")
  chown "$postgres_user" "$postgres_directory"
  local initdb pg_ctl port
  initdb=$(command -v initdb) pg_ctl=$(command -v pg_ctl)
  say "starting a private PostgreSQL in $postgres_directory"
  (cd "$postgres_directory" && as_postgres "$initdb" -D "$postgres_directory/data" -U postgres --auth trust -E UTF8 --no-sync \
    >"$postgres_directory/initdb.log" 2>&1) || fail "initdb failed: $(tail -3 "$postgres_directory/initdb.log")"
  # Somebody may take the port between the choice and the start; then the next one is tried.
  for _ in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 10000))
    if (cd "$postgres_directory" && as_postgres "$pg_ctl" -D "$postgres_directory/data" -w -t 60 -l "$postgres_directory/log" \
      -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off -c max_connections=300" start \
      >/dev/null 2>&1); then
      export BEAMLINE_TEST_POSTGRES_URL="postgres://postgres@127.0.0.1:$port/postgres"
      return
    fi
  done
  fail "the private PostgreSQL does not start: $(tail -3 "$postgres_directory/log")"
}

stop_postgres() {
  [ -n "${postgres_directory:-}" ] || return 0
  (cd "$postgres_directory" && as_postgres "$(command -v pg_ctl)" -D "$postgres_directory/data" -m immediate -w stop >/dev/null 2>&1) || true
  rm -rf "$postgres_directory"
}
