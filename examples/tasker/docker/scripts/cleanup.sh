#!/usr/bin/env bash
# Rendered by tasker-build from scripts/cleanup.sh.j2: change that or the spec, not this file; body sha256:d391ee9738da6c0f
# Removes what belongs to tasker, and nothing else, after showing it and asking.
#
# cleanup.sh [level] [--yes] [--confirm WORD]      default: basic
#   containers   the environments' containers and networks; data stays
#   basic        containers and the environments' volumes, which hold all data; asks for the word tasker
#   images       basic and the images
#   cache        the build cache of the WHOLE MACHINE, whoever made it
#   deep         images, then everything unused on the WHOLE MACHINE; asks for the word everything
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

say_usage() { awk 'NR > 2 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "scripts/$(basename "${BASH_SOURCE[0]}")"; }
case "${1:-}" in
    -h | --help)
        say_usage
        exit 0
        ;;
esac

# Without an answer nothing is removed: --yes stands for "y", --confirm WORD for a word that has to be typed.
yes=false
confirm=''

level=basic
while [[ $# -gt 0 ]]; do
    case "$1" in
        -y | --yes) yes=true ;;
        --confirm)
            confirm="${2:?--confirm needs a word}"
            shift
            ;;
        -*)
            echo "error: unknown argument '$1'" >&2
            exit 1
            ;;
        *) level=$1 ;;
    esac
    shift
done
case "${level}" in
    containers | basic | images | cache | deep) ;;
    *)
        echo "error: unknown level '${level}'; known: containers basic images cache deep" >&2
        exit 1
        ;;
esac

# An empty list counts as unset in the bash of macOS (3.2), hence ${list[@]+…} below.
projects=(tasker-integration tasker-development tasker-production tasker-db)
networks=(tasker-integration-network tasker-development-network tasker-production-network tasker-dev-database tasker-integration_default tasker-development_default tasker-production_default tasker-db_default)
volumes=(tasker-integration-postgres-data tasker-dev-postgres-data tasker-prod-postgres-data tasker-dev-database-data)
repositories=(jcoletaylor/tasker-builder-base jcoletaylor/tasker-orchestration jcoletaylor/tasker-worker-rust jcoletaylor/tasker-worker-ruby jcoletaylor/tasker-worker-python jcoletaylor/tasker-worker-wasm jcoletaylor/tasker-pgmq)

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

list() { # containers|networks|volumes|images: what is there of ours, one a line
    local name
    case "$1" in
        containers)
            # Images that compose built carry its project label, and so does whatever runs from them: the number is on containers only.
            for name in ${projects[@]+"${projects[@]}"}; do
                docker ps --all --filter label=com.docker.compose.container-number --filter "label=com.docker.compose.project=${name}" --format '{{.Names}}'
            done
            ;;
        networks) for name in ${networks[@]+"${networks[@]}"}; do if docker network inspect "${name}" >/dev/null 2>&1; then echo "${name}"; fi; done ;;
        volumes) for name in ${volumes[@]+"${volumes[@]}"}; do if docker volume inspect "${name}" >/dev/null 2>&1; then echo "${name}"; fi; done ;;
        images) for name in ${repositories[@]+"${repositories[@]}"}; do docker image ls "${name}" --format '{{.Repository}}:{{.Tag}}' | grep -v '<none>' || true; done ;;
    esac
}

remove() { # CONTAINERS|…  NAME…
    local kind=$1
    shift
    [[ $# -gt 0 ]] || return 0
    case "${kind}" in
        containers) docker stop "$@" >/dev/null && docker rm "$@" >/dev/null ;;
        networks) docker network rm "$@" >/dev/null ;;
        volumes) docker volume rm "$@" >/dev/null ;;
        images) docker image rm "$@" >/dev/null ;;
    esac
}

case "${level}" in
    containers) kinds=(containers networks) ;;
    basic) kinds=(containers networks volumes) ;;
    images | deep) kinds=(containers networks volumes images) ;;
    cache) kinds=() ;;
esac
found=()
data=false
for kind in ${kinds[@]+"${kinds[@]}"}; do
    while IFS= read -r name; do
        found+=("${kind}"$'\t'"${name}")
        [[ "${kind}" != volumes ]] || data=true
    done < <(list "${kind}")
done
if [[ -n "${found[*]:-}" ]]; then
    echo "would remove:"
    printf '  %s\n' ${found[@]+"${found[@]}"}
elif [[ "${level}" != cache && "${level}" != deep ]]; then
    echo "nothing of tasker is here"
    exit 0
fi
case "${level}" in
    cache) echo "would remove the build cache of the whole machine: every project on it compiles from scratch next time" ;;
    deep) echo "would then remove everything unused on the WHOLE MACHINE, whoever made it: containers, networks, volumes, images, build cache" ;;
esac
if [[ "${level}" == deep ]]; then
    agree "This cannot be undone." everything
elif [[ "${data}" == true ]]; then
    agree "The volumes hold data; this cannot be undone." tasker
else
    agree "Remove it?"
fi

for kind in ${kinds[@]+"${kinds[@]}"}; do
    names=()
    for row in ${found[@]+"${found[@]}"}; do
        [[ "${row}" != "${kind}"$'\t'* ]] || names+=("${row#*$'\t'}")
    done
    remove "${kind}" ${names[@]+"${names[@]}"}
done
case "${level}" in
    cache) docker builder prune --force ;;
    deep)
        docker system prune --all --volumes --force
        docker builder prune --all --force
        ;;
esac
echo "removed"
