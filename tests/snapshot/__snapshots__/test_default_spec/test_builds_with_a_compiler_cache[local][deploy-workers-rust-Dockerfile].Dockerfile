# Rendered by tasker-build from dockerfile/rust-service.Dockerfile.j2: change that or the spec, not this file; body sha256:3f30664c353018f0
# deploy/workers/rust: tasker-worker-rust from cargo package tasker-worker-rust.
ARG BUILDER_IMAGE=jcoletaylor/tasker-builder-base:latest
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
# Cargo compares times, and files keep theirs: what was copied has to be newer than what was cooked.
RUN --mount=type=secret,id=cargo_jobs --mount=type=cache,id=tasker-sccache-deploy-workers-rust,target=/var/cache/sccache,sharing=locked \
    if [ -s /run/secrets/cargo_jobs ]; then CARGO_BUILD_JOBS=$(cat /run/secrets/cargo_jobs); export CARGO_BUILD_JOBS; fi \
    && find . -path ./target -prune -o -type f -exec touch {} + \
    && cargo build --release -p tasker-worker-rust --locked --offline --bin rust-worker \
    && sccache --show-stats > /tmp/sccache && sed '/^Cache location/d' /tmp/sccache && rm /tmp/sccache \
    && install -D -m 0555 target/release/rust-worker /out/tasker-worker-rust

FROM ${RUNTIME_IMAGE} AS runtime
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN groupadd --gid 1001 tasker \
    && useradd --system --no-log-init --uid 1001 --gid 1001 --home-dir /app --no-create-home \
        --shell /bin/false tasker \
    && install -d -m 0755 /app \
    && install -d -m 0750 -o 1001 -g 1001 /app/config /app/logs
WORKDIR /app
COPY --chown=1001:1001 config/ /app/config/
COPY --from=rust-builder /out/ /app/
USER 1001:1001
ENV TASKER_ENV="production" \
    WORKSPACE_PATH="/app" \
    TASKER_CONFIG_ROOT="/app/config" \
    RUST_LOG="info"
EXPOSE 8081
HEALTHCHECK --interval=15s --timeout=5s --start-period=45s --start-interval=1s --retries=3 \
    CMD ["/app/tasker-worker-rust", "healthcheck"]
STOPSIGNAL SIGTERM
CMD ["/app/tasker-worker-rust"]
