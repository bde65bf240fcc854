#!/usr/bin/env bash
# Rendered by tasker-build from scripts/run-db.sh.j2: change that or the spec, not this file; body sha256:9148be3ebab6dcc0
# Only the database of the db environment, for programs that run outside of containers.
#
# run-dev-db.sh [command]
#   start            start it and wait until it is ready (the default)
#   stop, restart    stop it (its data stays); stop and start
#   status           containers, readiness, whether the port answers
#   logs             follow the log
#   psql             SQL prompt; further arguments go to psql
#   shell            bash in the container
#   test             check the connection, PGMQ and UUID version 7
#   build            build the image
#   reset            remove all data and start afresh, after a dump
#                    [--yes --confirm tasker_rust_test] [--no-dump]
#   restore FILE     put a dump back [--yes --confirm tasker_rust_test]
#
# DATABASE_URL=postgresql://tasker:tasker@localhost:5432/tasker_rust_test
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say_usage() { awk 'NR > 2 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "scripts/$(basename "${BASH_SOURCE[0]}")"; }
case "${1:-}" in
    -h | --help)
        say_usage
        exit 0
        ;;
esac

# `docker compose` where it is, a `docker-compose` of the same kind otherwise.
if docker compose version >/dev/null 2>&1; then
    compose() { docker compose "$@"; }
elif command -v docker-compose >/dev/null 2>&1; then
    compose() { docker-compose "$@"; }
else
    echo "error: neither 'docker compose' nor 'docker-compose' is installed" >&2
    exit 4
fi
compose_version=$(compose version --short 2>/dev/null || true)
if [[ "${compose_version}" =~ ^v?([0-9]+)\.([0-9]+) ]] && ((BASH_REMATCH[1] * 1000 + BASH_REMATCH[2] < 2022)); then
    echo "error: compose ${compose_version} is too old: these files need 2.22 or newer" >&2
    exit 4
fi

# Without an answer nothing is removed: --yes stands for "y", --confirm WORD for a word that has to be typed.
yes=false
confirm=''

database=tasker_rust_test
user=tasker
volume=tasker-dev-database-data
# Another database of the server: one that is renamed must not be the one that we are in.
beside=postgres
[[ "${database}" != postgres ]] || beside=template1
project=tasker-db
backups=${BACKUPS:-${PWD}/backups}

agree() { # QUESTION [WORD]
    local answer
    if [[ -z "${2:-}" ]]; then
        [[ "${yes}" == true ]] && return 0
        [[ -t 0 ]] || { echo "error: refused: no terminal to ask on; --yes agrees" >&2; exit 5; }
        read -r -p "$1 [y/N] " answer
        [[ "${answer}" == [yY]* ]] && return 0
    else
        if [[ "${yes}" == true && -n "${confirm}" ]]; then
            [[ "${confirm}" == "$2" ]] && return 0
            echo "error: refused: --confirm says '${confirm}', not '$2'" >&2
            exit 5
        fi
        [[ -t 0 ]] || { echo "error: refused: no terminal to ask on; --yes --confirm $2 agrees" >&2; exit 5; }
        read -r -p "$1 Type $2 to agree: " answer
        [[ "${answer}" == "$2" ]] && return 0
    fi
    echo "cancelled, nothing was removed"
    exit 0
}

stack() { compose -f docker-compose.db.yml "$@"; }
inside() { stack exec -T postgres "$@"; }
sql() { inside psql -U "${user}" -d "${1}" -qAtX -v ON_ERROR_STOP=1 -c "${2}"; }
# Statements from standard input; psql puts the names in as SQL has them.
script() { inside psql -U "${user}" -d "${1}" -qAtX -v ON_ERROR_STOP=1 -v database="${database}" -v user="${user}" "${@:2}" >/dev/null; }

# compose would ask whether to recreate a volume that another layout made, and lose its data: nobody is there to say yes.
up() {
    if ! stack up --detach --wait --wait-timeout "${WAIT_TIMEOUT:-120}" </dev/null; then
        stack logs --tail 20 >&2
        echo "error: the database did not become healthy" >&2
        exit 1
    fi
}

# The host's port: the one that was published, or the one that would be.
port() {
    local at
    at=$(stack port postgres 5432 2>/dev/null) || at=''
    at=${at##*:}
    if [[ "${at:-0}" == 0 ]]; then at=${POSTGRES_PORT:-5432}; fi
    echo "${at}"
}

start() {
    local at
    up
    at=$(port)
    cat <<CONNECTION

PostgreSQL is ready.
  DATABASE_URL=postgresql://tasker:tasker@localhost:${at}/tasker_rust_test
  host localhost, port ${at}, database tasker_rust_test, user tasker, password tasker
  extensions: $(sql "${database}" "SELECT string_agg(extname, ', ' ORDER BY extname) FROM pg_extension WHERE extname <> 'plpgsql'")

  try:   ./scripts/run-dev-db.sh test
CONNECTION
}

check() { # NAME SQL
    if sql "${database}" "$2" >/dev/null; then
        echo "ok      $1"
    else
        echo "FAILED  $1" >&2
        exit 1
    fi
}

test_database() {
    if inside pg_isready -q -h 127.0.0.1 -U "${user}" -d "${database}"; then
        echo "ok      connection"
    else
        echo "FAILED  connection" >&2
        exit 1
    fi
    check "PGMQ: create a queue, send, read, drop it" \
        "SELECT pgmq.create('test_queue'); SELECT pgmq.send('test_queue', '{}'); SELECT count(*) / (count(*) = 1)::int FROM pgmq.read('test_queue', 0, 1); SELECT pgmq.drop_queue('test_queue')"
    check "UUID version 7" "SELECT 1 / (substr(uuid_generate_v7()::text, 15, 1) = '7')::int"
    echo "all passed"
}

status() {
    local at
    at=$(port)
    stack ps --all
    if inside pg_isready -h 127.0.0.1 -U "${user}" -d "${database}"; then :; else echo "the database is not ready"; fi
    if (exec 3<>"/dev/tcp/127.0.0.1/${at}") 2>/dev/null; then
        echo "port ${at} answers"
    else
        echo "port ${at} does not answer"
    fi
}

# Data is touched only where nobody else uses it.
ours_alone() {
    local others
    others=$(docker ps --all --filter "volume=${volume}" --format '{{.Names}} {{.Label "com.docker.compose.project"}}' | awk -v p="${project}" '$2 != p {print $1}')
    if [[ -n "${others}" ]]; then
        echo "error: refused: other containers use the volume ${volume}: ${others//$'\n'/, }" >&2
        exit 5
    fi
}

dump() {
    local name
    # For their owner only, and not for Git.
    umask 077
    mkdir -p "${backups}"
    if [[ -z "${BACKUPS:-}" && ! -e "${backups}/.gitignore" ]]; then echo '*' >"${backups}/.gitignore"; fi
    name="${backups}/${database}-$(date +%Y%m%d-%H%M%S).dump"
    (up) >/dev/null 2>&1 || true
    if inside pg_dump -U "${user}" -d "${database}" --format=custom >"${name}.part" && [[ -s "${name}.part" ]]; then
        mv "${name}.part" "${name}"
        echo "kept a dump: ${name}   (./scripts/run-dev-db.sh restore ${name})"
    else
        rm -f "${name}.part"
        echo "error: refused: no dump could be made, so the data stays (--no-dump goes on without one)" >&2
        exit 5
    fi
}

reset() {
    local keep=true
    while [[ $# -gt 0 ]]; do
        case "$1" in
            -y | --yes) yes=true ;;
            --confirm)
                confirm="${2:?--confirm needs a name}"
                shift
                ;;
            --no-dump) keep=false ;;
            *)
                echo "error: unknown argument '$1'" >&2
                exit 1
                ;;
        esac
        shift
    done
    ours_alone
    echo "This removes every row of ${database}: the container and the volume ${volume}."
    agree "Remove it all?" "${database}"
    if [[ "${keep}" == true ]] && docker volume inspect "${volume}" >/dev/null 2>&1; then (dump); fi
    stack down
    if docker volume inspect "${volume}" >/dev/null 2>&1; then docker volume rm "${volume}" >/dev/null; fi
    start
}

# In one transaction: whenever this is killed, the database is there, the old one or the new one. RENAME locks the name, so
# that nobody comes back in between; if somebody is faster, nothing has changed.
swap() {
    local try
    for try in 1 2 3 4 5; do
        if script "${beside}" --single-transaction <<'SQL'; then return; fi
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = :'database';
ALTER DATABASE :"database" RENAME TO tasker_build_replaced;
ALTER DATABASE tasker_build_restoring RENAME TO :"database";
SQL
        echo "the database is in use (${try} of 5)" >&2
    done
    echo "error: ${database} is in use and could not be replaced; it is as it was" >&2
    exit 1
}

restore() {
    local from=${1:-}
    [[ -n "${from}" ]] || { echo "error: restore needs a dump file: restore FILE" >&2; exit 1; }
    # As seen from where this was called.
    [[ "${from}" == /* ]] || from=${OLDPWD}/${from}
    [[ -f "${from}" && -s "${from}" ]] || { echo "error: no dump: there is no such file, or nothing in it: ${from}" >&2; exit 1; }
    shift
    while [[ $# -gt 0 ]]; do
        case "$1" in
            -y | --yes) yes=true ;;
            --confirm)
                confirm="${2:?--confirm needs a name}"
                shift
                ;;
            *)
                echo "error: unknown argument '$1'" >&2
                exit 1
                ;;
        esac
        shift
    done
    ours_alone
    echo "This replaces the database ${database} by ${from}."
    agree "Replace it?" "${database}"
    up >/dev/null
    # Into a new database first: a dump that cannot be read costs nothing, and a restore that was killed can be run again.
    script "${beside}" <<'SQL'
DROP DATABASE IF EXISTS tasker_build_restoring WITH (FORCE);
DROP DATABASE IF EXISTS tasker_build_replaced WITH (FORCE);
CREATE DATABASE tasker_build_restoring OWNER :"user";
SQL
    inside pg_restore -U "${user}" -d tasker_build_restoring --exit-on-error <"${from}"
    # The dump of an older image's database is brought up to date, where the image knows how.
    inside sh -c 'if command -v database-adopt >/dev/null; then database-adopt tasker_build_restoring; fi'
    swap
    sql "${beside}" "DROP DATABASE tasker_build_replaced WITH (FORCE)"
    echo "restored ${from}"
}

command=${1:-start}
[[ $# -eq 0 ]] || shift
case "${command}" in
    start) start ;;
    stop) stack down ;;
    restart)
        stack down
        start
        ;;
    status) status ;;
    logs) stack logs --follow postgres ;;
    psql)
        if [[ -t 0 && -t 1 ]]; then
            stack exec postgres psql -U "${user}" -d "${database}" "$@"
        else
            inside psql -U "${user}" -d "${database}" "$@"
        fi
        ;;
    shell | bash) if [[ -t 0 ]]; then stack exec postgres bash; else inside bash; fi ;;
    test) test_database ;;
    reset) reset "$@" ;;
    restore) restore "$@" ;;
    build) stack build postgres ;;
    *)
        echo "error: unknown command '${command}'" >&2
        say_usage >&2
        exit 1
        ;;
esac
