#!/usr/bin/env bash
# Rendered by tasker-build from scripts/build-images.sh.j2: change that or the spec, not this file; body sha256:63102d76d3341c44
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
# What an image is built from is built first and gets the same tag: nothing starts from an older one.
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

words=()
jobs=''
while (($# > 0)); do
    case "$1" in
        -h | --help)
            say_usage
            exit 0
            ;;
        --jobs | --jobs=*)
            if [[ "$1" == --jobs ]]; then
                jobs=${2:-none}
                shift
            else
                jobs=${1#--jobs=}
            fi
            [[ "${jobs}" =~ ^[1-9][0-9]{0,2}$ ]] || { echo "error: --jobs takes a number from 1 to 999" >&2; exit 1; }
            ;;
        -*)
            echo "error: unknown option '$1'; --help shows what there is" >&2
            exit 1
            ;;
        *) words+=("$1") ;;
    esac
    shift
done
if [[ -n "${words[3]+more}" ]]; then
    echo "error: one word too many: '${words[3]}'; --help shows what there is" >&2
    exit 1
fi
type=${words[0]:-all}
tag=${words[1]:-latest}
push=${words[2]:-false}

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

if [[ -n "${jobs}" ]]; then
    limit=$(mktemp)
    trap 'rm -f "${limit}"' EXIT
    printf '%s' "${jobs}" >"${limit}"
    export TASKER_BUILD_CARGO_JOBS="${limit}" COMPOSE_PARALLEL_LIMIT=1
fi
# Every image by its name with this tag, so that what is built on the way to another one gets it, too.
export TASKER_BUILDER_BASE_IMAGE=jcoletaylor/tasker-builder-base:"${tag}"
export TASKER_ORCHESTRATION_IMAGE=jcoletaylor/tasker-orchestration:"${tag}"
export TASKER_WORKER_RUST_IMAGE=jcoletaylor/tasker-worker-rust:"${tag}"
export TASKER_BUILDER_BASE_WORKERS_IMAGE=jcoletaylor/tasker-builder-base:"workers-${tag}"
export TASKER_WORKER_RUBY_IMAGE=jcoletaylor/tasker-worker-ruby:"${tag}"
export TASKER_WORKER_PYTHON_IMAGE=jcoletaylor/tasker-worker-python:"${tag}"
export TASKER_WORKER_WASM_IMAGE=jcoletaylor/tasker-worker-wasm:"${tag}"
export TASKER_PGMQ_IMAGE=jcoletaylor/tasker-pgmq:"${tag}"
export TASKER_BUILDER_BASE_DEV_IMAGE=jcoletaylor/tasker-builder-base:"dev-${tag}"
export TASKER_ORCHESTRATION_DEV_IMAGE=jcoletaylor/tasker-orchestration:"dev-${tag}"
export TASKER_WORKER_RUST_DEV_IMAGE=jcoletaylor/tasker-worker-rust:"dev-${tag}"
# Required variables matter when a stack starts, not when it is built.
export POSTGRES_PASSWORD="${POSTGRES_PASSWORD:-not-needed-here}"
built=()

build() { # FILE SERVICE IMAGE TAG…
    local file=$1 service=$2 image=$3 first=$4 other
    shift 3
    echo "== ${image}: $*"
    compose -f "${file}" build "${service}"
    for other in "$@"; do
        [[ "${other}" == "${first}" ]] || docker tag "${image}:${first}" "${image}:${other}"
        built+=("${image}:${other}")
    done
}

echo "type ${type}, tag ${tag}, push ${push}"
case "${type}" in
    base)
        build docker-compose.integration.yml builder-base jcoletaylor/tasker-builder-base "${tag}"
        ;;
    orchestration)
        built+=(jcoletaylor/tasker-builder-base:"${tag}")
        build docker-compose.integration.yml orchestration jcoletaylor/tasker-orchestration "${tag}" "deploy-${tag}"
        built+=(jcoletaylor/tasker-builder-base:"dev-${tag}")
        build docker-compose.dev.yml orchestration jcoletaylor/tasker-orchestration "dev-${tag}"
        ;;
    workers)
        built+=(jcoletaylor/tasker-builder-base:"${tag}")
        build docker-compose.integration.yml migrate jcoletaylor/tasker-worker-rust "${tag}" "deploy-${tag}"
        built+=(jcoletaylor/tasker-builder-base:"dev-${tag}")
        build docker-compose.dev.yml migrate jcoletaylor/tasker-worker-rust "dev-${tag}"
        built+=(jcoletaylor/tasker-builder-base:"workers-${tag}")
        build docker-compose.integration.yml ruby-worker jcoletaylor/tasker-worker-ruby "${tag}" "deploy-${tag}"
        build docker-compose.integration.yml python-worker jcoletaylor/tasker-worker-python "${tag}" "deploy-${tag}"
        build docker-compose.integration.yml wasm-worker jcoletaylor/tasker-worker-wasm "${tag}" "deploy-${tag}"
        ;;
    rust)
        built+=(jcoletaylor/tasker-builder-base:"${tag}")
        build docker-compose.integration.yml migrate jcoletaylor/tasker-worker-rust "${tag}" "deploy-${tag}"
        built+=(jcoletaylor/tasker-builder-base:"dev-${tag}")
        build docker-compose.dev.yml migrate jcoletaylor/tasker-worker-rust "dev-${tag}"
        ;;
    ruby)
        built+=(jcoletaylor/tasker-builder-base:"${tag}")
        built+=(jcoletaylor/tasker-builder-base:"workers-${tag}")
        build docker-compose.integration.yml ruby-worker jcoletaylor/tasker-worker-ruby "${tag}" "deploy-${tag}"
        ;;
    python)
        built+=(jcoletaylor/tasker-builder-base:"${tag}")
        built+=(jcoletaylor/tasker-builder-base:"workers-${tag}")
        build docker-compose.integration.yml python-worker jcoletaylor/tasker-worker-python "${tag}" "deploy-${tag}"
        ;;
    wasm)
        built+=(jcoletaylor/tasker-builder-base:"${tag}")
        built+=(jcoletaylor/tasker-builder-base:"workers-${tag}")
        build docker-compose.integration.yml wasm-worker jcoletaylor/tasker-worker-wasm "${tag}" "deploy-${tag}"
        ;;
    postgres)
        build docker-compose.integration.yml postgres jcoletaylor/tasker-pgmq "${tag}"
        ;;
    all)
        build docker-compose.integration.yml builder-base jcoletaylor/tasker-builder-base "${tag}"
        build docker-compose.integration.yml orchestration jcoletaylor/tasker-orchestration "${tag}" "deploy-${tag}"
        built+=(jcoletaylor/tasker-builder-base:"dev-${tag}")
        build docker-compose.dev.yml orchestration jcoletaylor/tasker-orchestration "dev-${tag}"
        build docker-compose.integration.yml migrate jcoletaylor/tasker-worker-rust "${tag}" "deploy-${tag}"
        build docker-compose.dev.yml migrate jcoletaylor/tasker-worker-rust "dev-${tag}"
        built+=(jcoletaylor/tasker-builder-base:"workers-${tag}")
        build docker-compose.integration.yml ruby-worker jcoletaylor/tasker-worker-ruby "${tag}" "deploy-${tag}"
        build docker-compose.integration.yml python-worker jcoletaylor/tasker-worker-python "${tag}" "deploy-${tag}"
        build docker-compose.integration.yml wasm-worker jcoletaylor/tasker-worker-wasm "${tag}" "deploy-${tag}"
        build docker-compose.integration.yml postgres jcoletaylor/tasker-pgmq "${tag}"
        ;;
    *)
        echo "error: unknown type '${type}'; known: base orchestration workers rust ruby python wasm postgres all" >&2
        exit 1
        ;;
esac

push_elsewhere() { # REFERENCE: under a name that is only there for the push
    local name="${PUSH_REGISTRY}/$1" failed=0 here=0
    ! docker image inspect "${name}" >/dev/null 2>&1 || here=1
    docker tag "$1" "${name}"
    docker push --quiet "${name}" || failed=1
    [[ "${here}" == 1 ]] || docker image rm "${name}" >/dev/null
    return "${failed}"
}

if [[ "${push}" == true ]]; then
    for reference in ${built[@]+"${built[@]}"}; do
        if [[ -n "${PUSH_REGISTRY:-}" ]]; then
            push_elsewhere "${reference}"
        else
            docker push --quiet "${reference}"
        fi
    done
fi

echo
echo "built:"
printf '  %s\n' ${built[@]+"${built[@]}"}
