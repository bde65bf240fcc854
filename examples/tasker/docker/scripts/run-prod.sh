#!/usr/bin/env bash
# Rendered by tasker-build from scripts/run-stack.sh.j2: change that or the spec, not this file; body sha256:60e4674f2d639105
# Starts the deploy environment: builds what is missing, waits until everything is healthy, then says where it is.
#
# run-prod.sh [--version TAG] [--pull] [--no-build]
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
export WORKER_PORT="${WORKER_PORT:-8081}"

if [[ -n "${POSTGRES_PASSWORD_FILE:-}" ]]; then
    # From where the caller is; this script has gone to the folder of the compose file.
    [[ "${POSTGRES_PASSWORD_FILE}" == /* ]] || POSTGRES_PASSWORD_FILE="${OLDPWD}/${POSTGRES_PASSWORD_FILE}"
    if [[ ! -f "${POSTGRES_PASSWORD_FILE}" || ! -r "${POSTGRES_PASSWORD_FILE}" || -z "$(cat -- "${POSTGRES_PASSWORD_FILE}")" ]]; then
        echo "error: POSTGRES_PASSWORD_FILE is ${POSTGRES_PASSWORD_FILE}, and no password can be read there" >&2
        exit 1
    fi
    # The file is the only source then.
    export POSTGRES_PASSWORD_FILE POSTGRES_PASSWORD=''
    credentials="POSTGRES_PASSWORD= POSTGRES_PASSWORD_FILE=$(printf '%q' "${POSTGRES_PASSWORD_FILE}")"
elif [[ -z "${POSTGRES_PASSWORD:-}" ]]; then
    echo "error: POSTGRES_PASSWORD is not set: there is no default in the deploy environment" >&2
    echo "hint: POSTGRES_PASSWORD=... $0, or POSTGRES_PASSWORD_FILE=/path/of/a/file $0" >&2
    exit 1
elif [[ "${POSTGRES_PASSWORD}" == *[!A-Za-z0-9._~-]* ]]; then
    echo "error: POSTGRES_PASSWORD becomes part of a URL, and has other characters than letters, digits and . _ ~ -" >&2
    echo "hint: a file may hold any password: POSTGRES_PASSWORD_FILE=/path/of/a/file $0" >&2
    exit 1
else
    # The value itself is not for the screen; an empty one would lock the services out of their database.
    credentials="POSTGRES_PASSWORD=\"\${POSTGRES_PASSWORD:?}\""
fi

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
image TASKER_WORKER_RUST_IMAGE jcoletaylor/tasker-worker-rust:"${version}"
image TASKER_ORCHESTRATION_IMAGE jcoletaylor/tasker-orchestration:"${version}"
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
echo "Starting the deploy environment from $(pwd)/docker-compose.deploy.yml"
# compose would ask whether to recreate a volume that another layout made, and lose its data: nobody is there to say yes.
if ! compose -f docker-compose.deploy.yml up "${how[@]}" --detach --wait --wait-timeout "${WAIT_TIMEOUT:-300}" </dev/null; then
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
echo
printf '  %s\n' "Read-only root file systems, no capabilities, no privileges, limits on memory, processors and processes."
printf '  %s\n' "scale:    ${credentials} docker compose -f docker-compose.deploy.yml up --scale worker=3 -d"
printf '  %s\n' "          (all workers move to ports of 8181-8199, which \`ps\` names; whoever starts services needs the true password)"
printf '  %s\n' "monitor:  POSTGRES_PASSWORD=any docker compose -f docker-compose.deploy.yml ps"
printf '  %s\n' "          POSTGRES_PASSWORD=any docker compose -f docker-compose.deploy.yml logs -f orchestration worker"
printf '  %s\n' "stop:     POSTGRES_PASSWORD=any docker compose -f docker-compose.deploy.yml down"
printf '  %s\n' "BIND_ADDRESS (127.0.0.1), POSTGRES_PORT, ORCHESTRATION_PORT and WORKER_PORT move the ports."
if [[ "${build}" == false ]]; then
    printf '\n  Before another "up", which would run other images otherwise:\n'
    printf '    export %s\n' ${pinned[@]+"${pinned[@]}"}
fi
