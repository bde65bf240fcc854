#!/usr/bin/env bash
# Rendered by tasker-build from scripts/run-stack.sh.j2: change that or the spec, not this file; body sha256:fe2f5a23c1fa546f
# Starts the dev environment: builds what is missing, waits until everything is healthy, then says where it is.
#
# run-dev.sh [--version TAG] [--pull] [--no-build]
#   --version TAG   run the images of that version, and build nothing
#   --pull          fetch the images from their registry first, and build nothing
#   --no-build      run the images that are here, and build nothing; so it is where an X_IMAGE variable names one
#
# WAIT_TIMEOUT is the time to become healthy in seconds, 300 where it is not set.
# COMPOSE_PROFILES=workers starts the optional services, too.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say_usage() { awk 'NR > 2 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "scripts/$(basename "${BASH_SOURCE[0]}")"; }
case "${1:-}" in
    -h | --help)
        say_usage
        exit 0
        ;;
esac

version=latest
build=true
pull=false
while (($# > 0)); do
    case "$1" in
        -h | --help)
            say_usage
            exit 0
            ;;
        --version | --version=*)
            if [[ "$1" == --version ]]; then
                version=${2:-}
                shift
            else
                version=${1#--version=}
            fi
            if [[ ! "${version}" =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}$ ]]; then
                echo "error: --version takes an image tag, not '${version}'" >&2
                exit 1
            fi
            build=false
            ;;
        --pull)
            pull=true
            build=false
            ;;
        --no-build) build=false ;;
        *)
            echo "error: unknown argument '$1'; --help shows what there is" >&2
            exit 1
            ;;
    esac
    shift
done

images=()
pinned=()
image() { # VARIABLE REFERENCE [PROFILE…]
    local variable=$1 reference=$2 profile wanted=true
    shift 2
    # An optional service counts where one of its profiles is asked for.
    if (($# > 0)); then
        wanted=false
        for profile in "$@" '*'; do
            [[ ",${COMPOSE_PROFILES:-}," != *",${profile},"* ]] || wanted=true
        done
    fi
    [[ "${wanted}" == true ]] || return 0
    if [[ -n "${!variable:-}" ]]; then
        build=false
        reference=${!variable}
    fi
    images+=("${reference}")
    pinned+=("${variable}=${reference}")
}
image TASKER_PGMQ_IMAGE jcoletaylor/tasker-pgmq:"${version}"
image TASKER_WORKER_RUST_DEV_IMAGE jcoletaylor/tasker-worker-rust:"dev-${version}"
image TASKER_ORCHESTRATION_DEV_IMAGE jcoletaylor/tasker-orchestration:"dev-${version}"
image TASKER_WORKER_RUBY_IMAGE jcoletaylor/tasker-worker-ruby:"${version}" workers ruby
image TASKER_WORKER_PYTHON_IMAGE jcoletaylor/tasker-worker-python:"${version}" workers python
image TASKER_WORKER_WASM_IMAGE jcoletaylor/tasker-worker-wasm:"${version}" workers wasm

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

how=(--build)
if [[ "${build}" == false ]]; then
    how=(--no-build)
    # An empty list counts as unset in the bash of macOS (3.2).
    [[ -z "${pinned[*]:-}" ]] || export "${pinned[@]}"
    for reference in ${images[@]+"${images[@]}"}; do
        if [[ "${pull}" == true ]]; then
            docker pull --quiet "${reference}"
        elif ! docker image inspect "${reference}" >/dev/null 2>&1; then
            echo "error: ${reference} is not here" >&2
            echo "hint: --pull fetches images, ./scripts/build-images.sh all TAG builds them" >&2
            exit 1
        fi
    done
fi
echo "Starting the dev environment from $(pwd)/docker-compose.dev.yml"
# compose would ask whether to recreate a volume that another layout made, and lose its data: nobody is there to say yes.
if ! compose -f docker-compose.dev.yml up "${how[@]}" --detach --wait --wait-timeout "${WAIT_TIMEOUT:-300}" </dev/null; then
    compose -f docker-compose.dev.yml logs --tail 20 >&2
    echo "error: the dev environment did not become healthy" >&2
    exit 1
fi

cat <<'ENDPOINTS'

The dev environment is up and healthy.
ENDPOINTS
printf '  %s\n' "PostgreSQL     postgresql://tasker:tasker@localhost:${POSTGRES_PORT:-5432}/tasker_development"
printf '  %s\n' "Orchestration  http://localhost:${ORCHESTRATION_PORT:-8080}   (health: /ready)"
printf '  %s\n' "Rust worker    http://localhost:${WORKER_PORT:-8081}   (health: /health/ready)"
printf '  %s\n' "Tokio console  tokio-console http://localhost:${ORCHESTRATION_CONSOLE_PORT:-6669} (orchestration), http://localhost:${WORKER_CONSOLE_PORT:-6670} (worker)"
echo
printf '  %s\n' "Log level debug, full backtraces. Files below ../config take effect in the running services."
printf '  %s\n' "watch:  docker compose -f docker-compose.dev.yml watch     (a change in a source builds and restarts its service)"
printf '  %s\n' "        docker compose -f docker-compose.dev.yml up --build --detach migrate     (after a new migration: watch does not run it)"
printf '  %s\n' "look:   docker compose -f docker-compose.dev.yml exec orchestration /app/debug/health-check.sh"
printf '  %s\n' "        docker compose -f docker-compose.dev.yml exec worker /app/debug/worker-status.sh"
printf '  %s\n' "logs:   docker compose -f docker-compose.dev.yml logs -f orchestration worker"
printf '  %s\n' "stop:   docker compose -f docker-compose.dev.yml down"
if [[ "${build}" == false ]]; then
    printf '\n  Before another "up", which would run other images otherwise:\n'
    printf '    export %s\n' ${pinned[@]+"${pinned[@]}"}
fi
