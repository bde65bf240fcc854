#!/usr/bin/env bash
# Rendered by tasker-build from scripts/build-images.sh.j2: change that or the spec, not this file; body sha256:07c1c65d21ed209d
# Builds images and gives them their tags.
#
# build-images.sh [type] [tag] [push] [--jobs N]      defaults: all latest false
#   base           build
#   orchestration  deploy/orchestration, dev/orchestration
#   workers        deploy/workers/rust, dev/workers/rust, deploy/workers/ruby, deploy/workers/python, deploy/workers/wasm
#   rust           deploy/workers/rust, dev/workers/rust
#   ruby           deploy/workers/ruby
#   python         deploy/workers/python
#   wasm           deploy/workers/wasm
#   postgres       postgres
#   all            build, deploy/orchestration, dev/orchestration, deploy/workers/rust, dev/workers/rust, deploy/workers/ruby, deploy/workers/python, deploy/workers/wasm, postgres
#
# push: `true` pushes what was built. PUSH_REGISTRY puts a registry in front of the names, such as localhost:5000.
# What an image is built from is built first: nothing starts from an older tag.
# --jobs: one image at a time, and no more than N compilers in it; for machines short of memory. It rebuilds nothing.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say_usage() { awk 'NR > 2 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "scripts/$(basename "${BASH_SOURCE[0]}")"; }
case "${1:-}" in
    -h | --help)
        say_usage
        exit 0
        ;;
esac

# `docker compose` where it is, the older `docker-compose` otherwise.
if docker compose version >/dev/null 2>&1; then
    compose() { docker compose "$@"; }
elif command -v docker-compose >/dev/null 2>&1; then
    compose() { docker-compose "$@"; }
else
    echo "error: neither 'docker compose' nor 'docker-compose' is installed" >&2
    exit 4
fi

words=()
while (($# > 0)); do
    case "$1" in
        --jobs)
            [[ "${2:-}" =~ ^[1-9][0-9]{0,2}$ ]] || { echo "error: --jobs takes a number from 1 to 999" >&2; exit 1; }
            limit=$(mktemp)
            trap 'rm -f "${limit}"' EXIT
            printf '%s' "$2" >"${limit}"
            export TASKER_BUILD_CARGO_JOBS="${limit}" COMPOSE_PARALLEL_LIMIT=1
            shift 2
            ;;
        *)
            words+=("$1")
            shift
            ;;
    esac
done
type=${words[0]:-all}
tag=${words[1]:-latest}
push=${words[2]:-false}
built=()

if [[ ! "${tag}" =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}$ ]]; then
    echo "error: '${tag}' is no image tag" >&2
    exit 1
fi
case "${push}" in
    true | false) ;;
    *)
        echo "error: push is true or false, not '${push}'" >&2
        exit 1
        ;;
esac

build() { # FILE SERVICE VARIABLE IMAGE TAG…
    local file=$1 service=$2 variable=$3 image=$4
    shift 4
    echo "== ${image}: $*"
    # Required variables matter when a stack starts, not when it is built.
    (
        export "${variable}=${image}:$1" POSTGRES_PASSWORD="${POSTGRES_PASSWORD:-not-needed-here}"
        compose -f "${file}" build "${service}"
    )
    built+=("${image}:$1")
    local first=$1 other
    shift
    for other in "$@"; do
        docker tag "${image}:${first}" "${image}:${other}"
        built+=("${image}:${other}")
    done
}

echo "type ${type}, tag ${tag}, push ${push}"
case "${type}" in
    base)
        build docker-compose.integration.yml builder-base TASKER_BUILDER_BASE_IMAGE jcoletaylor/tasker-builder-base "${tag}"
        ;;
    orchestration)
        build docker-compose.integration.yml orchestration TASKER_ORCHESTRATION_IMAGE jcoletaylor/tasker-orchestration "${tag}" "deploy-${tag}"
        build docker-compose.dev.yml orchestration TASKER_ORCHESTRATION_IMAGE jcoletaylor/tasker-orchestration "dev-${tag}"
        ;;
    workers)
        build docker-compose.integration.yml migrate TASKER_WORKER_RUST_IMAGE jcoletaylor/tasker-worker-rust "${tag}" "deploy-${tag}"
        build docker-compose.dev.yml migrate TASKER_WORKER_RUST_IMAGE jcoletaylor/tasker-worker-rust "dev-${tag}"
        build docker-compose.integration.yml ruby-worker TASKER_WORKER_RUBY_IMAGE jcoletaylor/tasker-worker-ruby "${tag}" "deploy-${tag}"
        build docker-compose.integration.yml python-worker TASKER_WORKER_PYTHON_IMAGE jcoletaylor/tasker-worker-python "${tag}" "deploy-${tag}"
        build docker-compose.integration.yml wasm-worker TASKER_WORKER_WASM_IMAGE jcoletaylor/tasker-worker-wasm "${tag}" "deploy-${tag}"
        ;;
    rust)
        build docker-compose.integration.yml migrate TASKER_WORKER_RUST_IMAGE jcoletaylor/tasker-worker-rust "${tag}" "deploy-${tag}"
        build docker-compose.dev.yml migrate TASKER_WORKER_RUST_IMAGE jcoletaylor/tasker-worker-rust "dev-${tag}"
        ;;
    ruby)
        build docker-compose.integration.yml ruby-worker TASKER_WORKER_RUBY_IMAGE jcoletaylor/tasker-worker-ruby "${tag}" "deploy-${tag}"
        ;;
    python)
        build docker-compose.integration.yml python-worker TASKER_WORKER_PYTHON_IMAGE jcoletaylor/tasker-worker-python "${tag}" "deploy-${tag}"
        ;;
    wasm)
        build docker-compose.integration.yml wasm-worker TASKER_WORKER_WASM_IMAGE jcoletaylor/tasker-worker-wasm "${tag}" "deploy-${tag}"
        ;;
    postgres)
        build docker-compose.integration.yml postgres TASKER_PGMQ_IMAGE jcoletaylor/tasker-pgmq "${tag}"
        ;;
    all)
        build docker-compose.integration.yml builder-base TASKER_BUILDER_BASE_IMAGE jcoletaylor/tasker-builder-base "${tag}"
        build docker-compose.integration.yml orchestration TASKER_ORCHESTRATION_IMAGE jcoletaylor/tasker-orchestration "${tag}" "deploy-${tag}"
        build docker-compose.dev.yml orchestration TASKER_ORCHESTRATION_IMAGE jcoletaylor/tasker-orchestration "dev-${tag}"
        build docker-compose.integration.yml migrate TASKER_WORKER_RUST_IMAGE jcoletaylor/tasker-worker-rust "${tag}" "deploy-${tag}"
        build docker-compose.dev.yml migrate TASKER_WORKER_RUST_IMAGE jcoletaylor/tasker-worker-rust "dev-${tag}"
        build docker-compose.integration.yml ruby-worker TASKER_WORKER_RUBY_IMAGE jcoletaylor/tasker-worker-ruby "${tag}" "deploy-${tag}"
        build docker-compose.integration.yml python-worker TASKER_WORKER_PYTHON_IMAGE jcoletaylor/tasker-worker-python "${tag}" "deploy-${tag}"
        build docker-compose.integration.yml wasm-worker TASKER_WORKER_WASM_IMAGE jcoletaylor/tasker-worker-wasm "${tag}" "deploy-${tag}"
        build docker-compose.integration.yml postgres TASKER_PGMQ_IMAGE jcoletaylor/tasker-pgmq "${tag}"
        ;;
    *)
        echo "error: unknown type '${type}'; known: base orchestration workers rust ruby python wasm postgres all" >&2
        exit 1
        ;;
esac

if [[ "${push}" == true ]]; then
    for reference in "${built[@]}"; do
        if [[ -n "${PUSH_REGISTRY:-}" ]]; then
            docker tag "${reference}" "${PUSH_REGISTRY}/${reference}"
            reference="${PUSH_REGISTRY}/${reference}"
        fi
        docker push --quiet "${reference}"
    done
fi

echo
echo "built:"
printf '  %s\n' "${built[@]}"
