# Rendered by tasker-build from dockerfile/ruby-ffi.Dockerfile.j2: change that or the spec, not this file; body sha256:112a8a55b686c92b
# deploy/workers/ruby: a Ruby program on tasker_core_rb.so from cargo package tasker_core_rb.
ARG BUILDER_IMAGE=jcoletaylor/tasker-builder-base:workers-latest
ARG RUNTIME_IMAGE=ruby:3.3-slim-trixie

FROM ${BUILDER_IMAGE} AS ruby-builder
WORKDIR /app
ENV SQLX_OFFLINE="true"

# Manifests of the whole workspace, sources of what this image needs of it and nothing else.
COPY Cargo.toml ./
COPY tasker-orchestration/Cargo.toml tasker-orchestration/
COPY workers/python/Cargo.toml workers/python/
COPY workers/rust/Cargo.toml workers/rust/
COPY workers/wasm/host/Cargo.toml workers/wasm/host/
COPY Cargo.lock Cargo.toml ./
COPY .cargo/config.toml .cargo/
COPY pgmq-notify/ pgmq-notify/
COPY tasker-client/ tasker-client/
COPY tasker-shared/ tasker-shared/
COPY tasker-worker/ tasker-worker/
COPY unify/ unify/
COPY workers/ruby/ext/tasker_core/ workers/ruby/ext/tasker_core/
# Contexts carry fixed times and cargo compares times: what was copied has to be newer than what was cooked.
RUN --mount=type=secret,id=cargo_jobs \
    if [ -s /run/secrets/cargo_jobs ]; then CARGO_BUILD_JOBS=$(cat /run/secrets/cargo_jobs); export CARGO_BUILD_JOBS; fi \
    && find . -path ./target -prune -o -type f -exec touch {} + \
    && cargo build --release -p tasker_core_rb --locked --offline --lib \
    && install -D -m 0444 target/release/libtasker_core_rb.so /out/tasker_core_rb.so

FROM ${RUNTIME_IMAGE} AS runtime
RUN groupadd --gid 1001 tasker \
    && useradd --system --no-log-init --uid 1001 --gid 1001 --home-dir /app --no-create-home \
        --shell /bin/false tasker \
    && install -d -m 0755 /app \
    && install -d -m 0750 -o 1001 -g 1001 /app/config /app/logs
WORKDIR /app
COPY --chown=1001:1001 config/ /app/config/
COPY --chown=1001:1001 workers/ruby/bin/ /app/workers/ruby/bin/
COPY --chown=1001:1001 workers/ruby/lib/ /app/workers/ruby/lib/
WORKDIR /app/workers/ruby
COPY --from=ruby-builder /out/ lib/
USER 1001:1001
ENV TASKER_ENV="production" \
    WORKSPACE_PATH="/app" \
    TASKER_CONFIG_ROOT="/app/config" \
    RUST_LOG="info" \
    TASKER_WORKER_BIND="0.0.0.0:8082"
EXPOSE 8082
HEALTHCHECK --interval=15s --timeout=5s --start-period=45s --start-interval=1s --retries=3 \
    CMD ["ruby", "bin/tasker-ruby-worker", "healthcheck"]
STOPSIGNAL SIGTERM
CMD ["ruby", "bin/tasker-ruby-worker"]
