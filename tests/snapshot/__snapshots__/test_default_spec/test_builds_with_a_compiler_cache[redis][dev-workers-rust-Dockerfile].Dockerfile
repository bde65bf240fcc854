# Rendered by tasker-build from dockerfile/rust-service-dev.Dockerfile.j2: change that or the spec, not this file; body sha256:0ee61c48688bd042
# dev/workers/rust: tasker-worker-rust from cargo package tasker-worker-rust.
ARG BUILDER_IMAGE=jcoletaylor/tasker-builder-base:dev-latest
ARG RUNTIME_IMAGE=debian:trixie-slim

FROM ${BUILDER_IMAGE} AS rust-builder
WORKDIR /app
ENV SQLX_OFFLINE="true"

# Manifests of the whole workspace, sources of what this image needs of it and nothing else.
COPY workers/python/Cargo.toml workers/python/
COPY workers/ruby/ext/tasker_core/Cargo.toml workers/ruby/ext/tasker_core/
COPY workers/wasm/host/Cargo.toml workers/wasm/host/
COPY Cargo.lock Cargo.toml build.rs ./
COPY .cargo/config.toml .cargo/
COPY migrations/ migrations/
COPY pgmq-notify/ pgmq-notify/
COPY src/ src/
COPY tasker-client/ tasker-client/
COPY tasker-orchestration/ tasker-orchestration/
COPY tasker-shared/ tasker-shared/
COPY tasker-worker/ tasker-worker/
COPY unify/ unify/
COPY workers/rust/ workers/rust/
# Goes on where the last build of this target stopped; an emptied cache costs one full build. Cargo compares times, so exactly the files
# whose content differs from what the last build saw are made new. What differs is forgotten before the build: a failure is not taken for seen.
RUN --mount=type=cache,id=tasker-dev-workers-rust,target=/incremental,sharing=locked \
    --mount=type=secret,id=ca_bundle --mount=type=secret,id=cargo_jobs --mount=type=secret,id=sccache_redis_endpoint --mount=type=cache,id=tasker-sccache-dev-workers-rust,target=/var/cache/sccache,sharing=locked \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; \
    fi \
    && if [ -s /run/secrets/cargo_jobs ]; then CARGO_BUILD_JOBS=$(cat /run/secrets/cargo_jobs); export CARGO_BUILD_JOBS; fi \
    && if [ -s /run/secrets/sccache_redis_endpoint ]; then SCCACHE_REDIS_ENDPOINT=$(cat /run/secrets/sccache_redis_endpoint); export SCCACHE_REDIS_ENDPOINT; fi \
    && { rustc -vV; cat recipe.json; } > /tmp/stand \
    && if ! cmp -s /tmp/stand /incremental/stand; then \
        rm -rf /incremental/* && cp -a target /incremental/target && touch /incremental/seen && cp /tmp/stand /incremental/stand; \
    fi \
    && find . -path ./target -prune -o -type f -exec sha256sum {} + > /tmp/now \
    && { grep -xFf /tmp/now /incremental/seen > /incremental/same || true; } \
    && mv /incremental/same /incremental/seen \
    && { grep -vxFf /incremental/seen /tmp/now > /tmp/new || true; } \
    && cut -c67- /tmp/new > /tmp/names && xargs --no-run-if-empty --delimiter='\n' --arg-file=/tmp/names touch \
    && CARGO_INCREMENTAL=1 RUSTC_WRAPPER='' cargo build --profile dev -p tasker-worker-rust --features tokio-console --locked --offline --target-dir /incremental/target --bin rust-worker \
    && install -D -m 0555 /incremental/target/debug/rust-worker /out/tasker-worker-rust \
    && cp /tmp/now /incremental/seen

FROM ${RUNTIME_IMAGE} AS dev-runtime
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl htop jq netcat-traditional procps \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN groupadd --gid 1001 tasker \
    && useradd --no-log-init --create-home --shell /bin/bash --uid 1001 --gid 1001 tasker \
    && install -d -o 1001 -g 1001 /app /app/config /app/logs /app/tmp \
    && install -d -m 0755 /app/debug
COPY --chmod=0755 <<'HELPER' /app/debug/worker-status.sh
#!/bin/bash
# What this service looks like from inside. Fails when anything it needs is missing.
set -u
failed=0

report() { # NAME STATE COMMAND…
    local name=$1 state=$2
    shift 2
    if "$@" >/dev/null 2>&1; then
        printf '%-22s %s\n' "${name}" "${state}"
    else
        printf '%-22s NOT %s\n' "${name}" "${state}"
        failed=1
    fi
}

echo '== Rust worker =='
report running ok curl --fail --silent --show-error --max-time 3 http://localhost:8081/health
report 'ready to work' ok curl --fail --silent --show-error --max-time 3 http://localhost:8081/health/ready
report orchestration reachable curl --fail --silent --show-error --max-time 3 http://orchestration:8080/health
report database connected nc -z -w 3 postgres 5432
if [ "${failed}" -ne 0 ]; then
    echo "-- what the service says"
    curl --silent --max-time 3 http://localhost:8081/health/ready | jq . || true
fi
echo "-- memory and processes"
free -h | sed -n 2p
# By the whole command line: the kernel keeps only 15 characters of a name.
pgrep --full --list-full '^/app/tasker-worker-rust' || failed=1
exit "${failed}"
HELPER

WORKDIR /app
COPY --chown=1001:1001 config/ /app/config/
COPY --from=rust-builder /out/ /app/
USER 1001:1001
ENV TASKER_ENV="development" \
    WORKSPACE_PATH="/app" \
    TASKER_CONFIG_ROOT="/app/config" \
    RUST_LOG="debug" \
    RUST_BACKTRACE="full" \
    TOKIO_CONSOLE_BIND="0.0.0.0:6669"
EXPOSE 8081
EXPOSE 6669
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --start-interval=1s --retries=5 \
    CMD ["/app/debug/worker-status.sh"]
STOPSIGNAL SIGINT
CMD ["/app/tasker-worker-rust"]
