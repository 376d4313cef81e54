#!/bin/sh
# Writes docker/.env, which docker compose reads: a password for each part, made here and known to nobody else.
set -eu
cd "$(dirname "$0")"
[ ! -e .env ] || { echo "docker/.env is there already; remove it (and the volumes) to begin anew" >&2; exit 1; }
umask 077
# Behind a letter: nats-server would read a leading digit as the beginning of a number.
secret() { printf 'p%s' "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"; }
{
  postgres=$(secret)
  echo "POSTGRES_PASSWORD=$postgres"
  echo "DATABASE_URL=postgres://beamline:$postgres@postgres:5432/beamline"
  echo "ADMIN_KEY=$(secret)"
  for user in ROUTER GATEWAY SHOP PII_GUARD MOCK_PROVIDER NORMALIZE_TEXT MASK_PII ADMINISTRATOR OBSERVER; do
    echo "${user}_PASSWORD=$(secret)"
  done
} > .env
echo "wrote docker/.env" >&2
