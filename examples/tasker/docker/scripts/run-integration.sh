#!/usr/bin/env bash
# Rendered by tasker-build from scripts/run-stack.sh.j2: change that or the spec, not this file; body sha256:f15bc3b3364a9f46
# Starts the integration environment: builds what is missing, waits until everything is healthy, then says where it is.
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

# `docker compose` where it is, the older `docker-compose` otherwise.
if docker compose version >/dev/null 2>&1; then
    compose() { docker compose "$@"; }
elif command -v docker-compose >/dev/null 2>&1; then
    compose() { docker-compose "$@"; }
else
    echo "error: neither 'docker compose' nor 'docker-compose' is installed" >&2
    exit 4
fi

echo "Starting the integration environment from $(pwd)/docker-compose.integration.yml"
# compose would ask whether to recreate a volume that another layout made, and lose its data: nobody is there to say yes.
if ! compose -f docker-compose.integration.yml up --build --detach --wait --wait-timeout "${WAIT_TIMEOUT:-300}" </dev/null; then
    compose -f docker-compose.integration.yml logs --tail 20 >&2
    echo "error: the integration environment did not become healthy" >&2
    exit 1
fi

cat <<'ENDPOINTS'

The integration environment is up and healthy.
ENDPOINTS
printf '  %s\n' "PostgreSQL     postgresql://tasker:tasker@localhost:${POSTGRES_PORT:-5432}/tasker_integration"
printf '  %s\n' "Orchestration  http://localhost:${ORCHESTRATION_PORT:-8080}   (health: /ready)"
printf '  %s\n' "Rust worker    http://localhost:${WORKER_PORT:-8081}   (health: /health/ready)"
cat <<'NEXT'

  tests:  (cd .. && cargo test --all-features -- docker_integration)
  logs:   docker compose -f docker-compose.integration.yml logs -f orchestration
  stop:   docker compose -f docker-compose.integration.yml down
NEXT
