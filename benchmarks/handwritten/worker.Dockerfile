# Frozen baseline, not to be improved: see README.md. Section 3.4 of the hand-written folder's description.
FROM tasker-bench-handwritten/builder-base:latest AS rust-worker-builder
WORKDIR /app
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle; \
    fi \
    && cargo build --release -p tasker-worker-rust --all-features
RUN ls -la target/release/rust-worker && strip target/release/rust-worker

FROM debian:trixie-slim AS runtime
RUN apt-get update && apt-get install -y \
    ca-certificates \
    libssl3t64 \
    libpq5 \
    curl \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --system --create-home --uid 1001 --shell /bin/false tasker
WORKDIR /app
RUN mkdir -p /app/config /app/logs \
    && chown -R tasker:tasker /app \
    && chmod 755 /app \
    && chmod 750 /app/config /app/logs
COPY --from=rust-worker-builder --chown=tasker:tasker /app/target/release/rust-worker /app/tasker-worker-rust
COPY --chown=tasker:tasker config/ /app/config/
USER tasker
ENV TASKER_ENV=production \
    DATABASE_URL=postgresql://tasker:tasker@postgres:5432/tasker_production \
    WORKSPACE_PATH=/app \
    TASKER_CONFIG_ROOT=/app/config \
    RUST_LOG=info \
    WORKER_ID=rust-worker-production \
    WORKER_TYPE=comprehensive \
    SUPPORTED_NAMESPACES=linear_workflow,diamond_workflow,tree_workflow,mixed_dag_workflow,order_fulfillment,inventory,notifications,payments \
    WEB_API_ENABLED=true \
    WEB_API_BIND_ADDRESS=0.0.0.0:8081 \
    WEB_API_REQUEST_TIMEOUT_MS=30000 \
    ORCHESTRATION_CLIENT_ENABLED=true \
    ORCHESTRATION_API_URL=http://orchestration:8080 \
    PGMQ_ENABLED=true \
    PGMQ_POLL_INTERVAL_MS=250 \
    PGMQ_MAX_MESSAGES_PER_POLL=50 \
    EVENT_SYSTEM_ENABLED=true \
    EVENT_SYSTEM_BATCH_SIZE=100 \
    MAX_CONCURRENT_TASKS=50 \
    DATABASE_POOL_SIZE=15 \
    DATABASE_CONNECTION_TIMEOUT_SECONDS=30 \
    HEALTH_CHECK_INTERVAL_SECONDS=15 \
    HEALTH_CHECK_TIMEOUT_SECONDS=5
EXPOSE 8081
HEALTHCHECK --interval=15s --timeout=5s --start-period=45s --retries=3 \
    CMD curl -f http://localhost:8081/health || exit 1
STOPSIGNAL SIGTERM
CMD ["./tasker-worker-rust"]
