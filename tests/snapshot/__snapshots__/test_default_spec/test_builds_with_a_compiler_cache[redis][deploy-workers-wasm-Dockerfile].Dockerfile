# Rendered by tasker-build from dockerfile/wasm-worker.Dockerfile.j2: change that or the spec, not this file; body sha256:afe0bb2650c95a19
# deploy/workers/wasm: tasker-worker-wasm from cargo package tasker-worker-wasm.
ARG BUILDER_IMAGE=jcoletaylor/tasker-builder-base:workers-latest
ARG RUNTIME_IMAGE=debian:trixie-slim

FROM ${BUILDER_IMAGE} AS wasm-builder
WORKDIR /app
ENV SQLX_OFFLINE="true"

# Manifests of the whole workspace, sources of what this image needs of it and nothing else.
COPY Cargo.toml ./
COPY tasker-orchestration/Cargo.toml tasker-orchestration/
COPY workers/python/Cargo.toml workers/python/
COPY workers/ruby/ext/tasker_core/Cargo.toml workers/ruby/ext/tasker_core/
COPY workers/rust/Cargo.toml workers/rust/
COPY Cargo.lock Cargo.toml ./
COPY .cargo/config.toml .cargo/
COPY pgmq-notify/ pgmq-notify/
COPY tasker-client/ tasker-client/
COPY tasker-shared/ tasker-shared/
COPY tasker-worker/ tasker-worker/
COPY unify/ unify/
COPY workers/wasm/host/ workers/wasm/host/
# Cargo compares times, and files keep theirs: what was copied has to be newer than what was cooked.
RUN --mount=type=secret,id=ca_bundle --mount=type=secret,id=cargo_jobs --mount=type=secret,id=sccache_redis_endpoint --mount=type=cache,id=tasker-sccache-deploy-workers-wasm,target=/var/cache/sccache,sharing=locked \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; \
    fi \
    && if [ -s /run/secrets/cargo_jobs ]; then CARGO_BUILD_JOBS=$(cat /run/secrets/cargo_jobs); export CARGO_BUILD_JOBS; fi \
    && if [ -s /run/secrets/sccache_redis_endpoint ]; then SCCACHE_REDIS_ENDPOINT=$(cat /run/secrets/sccache_redis_endpoint); export SCCACHE_REDIS_ENDPOINT; fi \
    && find . -path ./target -prune -o -type f -exec touch {} + \
    && cargo build --release -p tasker-worker-wasm --locked --offline --bin wasm-worker \
    && sccache --show-stats > /tmp/sccache && sed '/^Cache location/d' /tmp/sccache && rm /tmp/sccache \
    && install -D -m 0555 target/release/wasm-worker /out/tasker-worker-wasm

# The handlers, compiled for another machine; a workspace with a lock file of its own.
FROM ${BUILDER_IMAGE} AS wasm-guest-planner
WORKDIR /guest
COPY workers/wasm/guest/ ./
RUN cargo chef prepare --recipe-path /recipe.json

FROM ${BUILDER_IMAGE} AS wasm-guest
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; \
    fi \
    && rustup target add wasm32-wasip1
WORKDIR /guest
COPY --from=wasm-guest-planner /recipe.json /recipe.json
RUN --mount=type=secret,id=ca_bundle --mount=type=secret,id=cargo_jobs --mount=type=secret,id=sccache_redis_endpoint --mount=type=cache,id=tasker-sccache-deploy-workers-wasm,target=/var/cache/sccache,sharing=locked \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; \
    fi \
    && if [ -s /run/secrets/cargo_jobs ]; then CARGO_BUILD_JOBS=$(cat /run/secrets/cargo_jobs); export CARGO_BUILD_JOBS; fi \
    && if [ -s /run/secrets/sccache_redis_endpoint ]; then SCCACHE_REDIS_ENDPOINT=$(cat /run/secrets/sccache_redis_endpoint); export SCCACHE_REDIS_ENDPOINT; fi \
    && cargo chef cook --release --target wasm32-wasip1 --locked --recipe-path /recipe.json \
    && sccache --show-stats > /tmp/sccache && sed '/^Cache location/d' /tmp/sccache && rm /tmp/sccache
COPY workers/wasm/guest/ ./
RUN --mount=type=secret,id=ca_bundle --mount=type=secret,id=cargo_jobs --mount=type=secret,id=sccache_redis_endpoint --mount=type=cache,id=tasker-sccache-deploy-workers-wasm,target=/var/cache/sccache,sharing=locked \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; \
    fi \
    && if [ -s /run/secrets/cargo_jobs ]; then CARGO_BUILD_JOBS=$(cat /run/secrets/cargo_jobs); export CARGO_BUILD_JOBS; fi \
    && if [ -s /run/secrets/sccache_redis_endpoint ]; then SCCACHE_REDIS_ENDPOINT=$(cat /run/secrets/sccache_redis_endpoint); export SCCACHE_REDIS_ENDPOINT; fi \
    && find . -path ./target -prune -o -type f -exec touch {} + \
    && cargo build --release --target wasm32-wasip1 --locked --offline \
    && sccache --show-stats > /tmp/sccache && sed '/^Cache location/d' /tmp/sccache && rm /tmp/sccache \
    && install -D -m 0444 target/wasm32-wasip1/release/tasker_wasm_handlers.wasm /out/tasker_wasm_handlers.wasm

FROM ${RUNTIME_IMAGE} AS runtime
RUN groupadd --gid 1001 tasker \
    && useradd --system --no-log-init --uid 1001 --gid 1001 --home-dir /app --no-create-home \
        --shell /bin/false tasker \
    && install -d -m 0755 /app \
    && install -d -m 0750 -o 1001 -g 1001 /app/config /app/logs
WORKDIR /app
COPY --chown=1001:1001 config/ /app/config/
COPY --from=wasm-builder /out/ /app/
COPY --from=wasm-guest /out/ /app/
USER 1001:1001
ENV TASKER_ENV="production" \
    WORKSPACE_PATH="/app" \
    TASKER_CONFIG_ROOT="/app/config" \
    RUST_LOG="info" \
    TASKER_WORKER_BIND="127.0.0.1:8084" \
    WASM_MODULE="/app/tasker_wasm_handlers.wasm"
HEALTHCHECK --interval=20s --timeout=10s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["/app/tasker-worker-wasm", "healthcheck"]
STOPSIGNAL SIGTERM
CMD ["/app/tasker-worker-wasm"]
