#!/usr/bin/env bash
# Start-up of the PostgreSQL stand-in: makes the cluster on first start, then becomes the server.
set -euo pipefail

fail() {
  printf 'entrypoint: %s\n' "$*" >&2
  exit 1
}

# The value of NAME, or the content of the file that NAME_FILE names.
setting() { # NAME DEFAULT
  local file=$1_FILE
  if [ -n "${!1:-}" ] && [ -n "${!file:-}" ]; then fail "set $1 or $file, not both"; fi
  if [ -n "${!file:-}" ]; then
    [ -r "${!file}" ] || fail "$file: cannot read ${!file}"
    printf -v "$1" %s "$(<"${!file}")"
  else
    printf -v "$1" %s "${!1:-$2}"
  fi
  unset "$file"
}

# Options alone are for the server.
if [ $# -eq 0 ] || [ "${1:0:1}" = - ]; then set -- postgres "$@"; fi
[ "$1" = postgres ] || exec "$@"
for argument in "$@"; do
  case $argument in -\? | --help | --version | -V | --describe-config) exec "$@" ;; esac
done

# A volume with the data of another version, or mounted where this version does not look: nothing is made beside it.
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  for folder in /var/lib/postgresql /var/lib/postgresql/data /var/lib/postgresql/*/docker /var/lib/postgresql/data/*/docker; do
    [ ! -s "$folder/PG_VERSION" ] ||
      fail "$folder holds data of PostgreSQL $(<"$folder/PG_VERSION"), and this is PostgreSQL $PG_MAJOR with its data in $PGDATA: dump it with the old version, restore it with the new"
  done
fi

if [ "$(id -u)" = 0 ]; then
  # The server refuses to be root. A fresh volume belongs to root, so hand it over first.
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA"
  find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres:postgres {} +
  exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
fi

mkdir -p "$PGDATA"
chmod 0700 "$PGDATA" 2>/dev/null || true
if [ -s "$PGDATA/PG_VERSION" ]; then exec "$@"; fi

setting POSTGRES_USER postgres
setting POSTGRES_PASSWORD ''
setting POSTGRES_DB "$POSTGRES_USER"
setting POSTGRES_INITDB_ARGS ''
: "${POSTGRES_HOST_AUTH_METHOD:=scram-sha-256}"
if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
  fail "a new database needs POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"
fi

private=$(mktemp -d)
trap 'rm -rf "$private"' EXIT

# initdb wants a name for its user; one given by number alone gets it from a wrapper library.
if ! getent passwd "$(id -u)" >/dev/null; then
  echo "postgres:x:$(id -u):$(id -g)::$PGDATA:/bin/false" >"$private/passwd"
  echo "postgres:x:$(id -g):" >"$private/group"
  wrapper=$(find /usr/lib -name libnss_wrapper.so -print -quit)
  export LD_PRELOAD=$wrapper NSS_WRAPPER_PASSWD=$private/passwd NSS_WRAPPER_GROUP=$private/group
fi

printf '%s\n' "$POSTGRES_PASSWORD" >"$private/password"
options=(--username="$POSTGRES_USER" --pgdata="$PGDATA")
[ -z "$POSTGRES_PASSWORD" ] || options+=(--pwfile="$private/password")
[ -z "${POSTGRES_INITDB_WALDIR:-}" ] || options+=(--waldir="$POSTGRES_INITDB_WALDIR")
eval "options+=($POSTGRES_INITDB_ARGS)" # quoted as a shell would
initdb "${options[@]}"
printf '\nhost all all all %s\n' "$POSTGRES_HOST_AUTH_METHOD" >>"$PGDATA/pg_hba.conf"

# Scripts meet a server that listens on its own socket only: nobody connects before they are done.
pg_ctl start --silent --wait --pgdata="$PGDATA" -o "-c listen_addresses='' -p ${PGPORT:-5432}"
sql() { PGHOST='' PGHOSTADDR='' psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 --no-password -U "$POSTGRES_USER" "$@"; }
if [ "$POSTGRES_DB" != postgres ]; then
  sql -d postgres -v db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
fi
export POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB PGUSER="$POSTGRES_USER" PGDATABASE="$POSTGRES_DB"
shopt -s nullglob
for file in /docker-entrypoint-initdb.d/*; do
  case $file in
    *.sh)
      echo "entrypoint: running $file"
      # shellcheck source=/dev/null
      if [ -x "$file" ]; then "$file"; else . "$file"; fi
      ;;
    *.sql) echo "entrypoint: running $file"; sql -d "$POSTGRES_DB" -f "$file" ;;
    *.sql.gz) echo "entrypoint: running $file"; gunzip -c "$file" | sql -d "$POSTGRES_DB" ;;
    *) echo "entrypoint: ignoring $file" ;;
  esac
done
pg_ctl stop --silent --wait --mode=fast --pgdata="$PGDATA"

unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP PGUSER PGDATABASE POSTGRES_PASSWORD
rm -rf "$private"
echo "entrypoint: database ready"
exec "$@"
