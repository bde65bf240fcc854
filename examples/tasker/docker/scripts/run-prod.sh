#!/usr/bin/env bash
# Rendered by tasker-build from scripts/run-stack.sh.j2: change that or the spec, not this file; body sha256:82bfb13d6b32895a
# Starts the deploy environment: builds what is missing, waits until everything is healthy, then says where it is.
# WAIT_TIMEOUT is the time to become healthy in seconds, 300 where it is not set.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say_usage() { awk 'NR > 2 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "scripts/$(basename "${BASH_SOURCE[0]}")"; }
case "${1:-}" in
    -h | --help)
        say_usage
        exit 0
        ;;
esac

if [[ $# -gt 0 ]]; then
    echo "error: unknown argument '$1'" >&2
    exit 1
fi
export WORKER_PORT="${WORKER_PORT:-8081}"

if [[ -n "${POSTGRES_PASSWORD_FILE:-}" ]]; then
    # The file is the only source then.
    export POSTGRES_PASSWORD=''
elif [[ -z "${POSTGRES_PASSWORD:-}" ]]; then
    echo "error: POSTGRES_PASSWORD is not set: there is no default in the deploy environment" >&2
    echo "hint: POSTGRES_PASSWORD=... $0, or POSTGRES_PASSWORD_FILE=/path/of/a/file $0" >&2
    exit 1
elif [[ "${POSTGRES_PASSWORD}" == *[!A-Za-z0-9._~-]* ]]; then
    echo "error: POSTGRES_PASSWORD has characters that mean something in a URL: use POSTGRES_PASSWORD_FILE" >&2
    exit 1
fi

# `docker compose` where it is, the older `docker-compose` otherwise.
if docker compose version >/dev/null 2>&1; then
    compose() { docker compose "$@"; }
elif command -v docker-compose >/dev/null 2>&1; then
    compose() { docker-compose "$@"; }
else
    echo "error: neither 'docker compose' nor 'docker-compose' is installed" >&2
    exit 4
fi

echo "Starting the deploy environment from $(pwd)/docker-compose.deploy.yml"
# compose would ask whether to recreate a volume that another layout made, and lose its data: nobody is there to say yes.
if ! compose -f docker-compose.deploy.yml up --build --detach --wait --wait-timeout "${WAIT_TIMEOUT:-300}" </dev/null; then
    compose -f docker-compose.deploy.yml logs --tail 20 >&2
    echo "error: the deploy environment did not become healthy" >&2
    exit 1
fi

cat <<'ENDPOINTS'

The deploy environment is up and healthy.
ENDPOINTS
printf '  %s\n' "PostgreSQL     localhost:${POSTGRES_PORT:-5432}, database tasker_production, user tasker"
printf '  %s\n' "Orchestration  http://localhost:${ORCHESTRATION_PORT:-8080}   (health: /ready)"
printf '  %s\n' "Rust worker    http://localhost:${WORKER_PORT:-8081}   (health: /health/ready)"
cat <<'NEXT'

  Read-only root file systems, no capabilities, no privileges, limits on memory, processors and processes.
  scale:    docker compose -f docker-compose.deploy.yml up --scale worker=3 -d     (on ports of 8181-8199; `docker compose ps` names them)
  monitor:  docker compose -f docker-compose.deploy.yml ps
            docker compose -f docker-compose.deploy.yml logs -f orchestration worker
  stop:     docker compose -f docker-compose.deploy.yml down
  These need POSTGRES_PASSWORD, too. BIND_ADDRESS (127.0.0.1), POSTGRES_PORT, ORCHESTRATION_PORT and WORKER_PORT move the ports.
NEXT
