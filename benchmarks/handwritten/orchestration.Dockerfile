# Frozen baseline, not to be improved: see README.md. Section 3.3 of the hand-written folder's description.
FROM tasker-bench-handwritten/builder-base:latest AS orchestration-builder
WORKDIR /app
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle; \
    fi \
    && cargo build --release -p tasker-orchestration --all-features
RUN ls -la target/release/tasker-server && strip target/release/tasker-server

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
COPY --from=orchestration-builder --chown=tasker:tasker /app/target/release/tasker-server /app/tasker-orchestration
COPY --chown=tasker:tasker config/ /app/config/
USER tasker
ENV TASKER_ENV=production \
    DATABASE_URL=postgresql://tasker:tasker@postgres:5432/tasker_production \
    WORKSPACE_PATH=/app \
    TASKER_CONFIG_ROOT=/app/config \
    RUST_LOG=info \
    WEB_API_ENABLED=true \
    WEB_API_BIND_ADDRESS=0.0.0.0:8080 \
    WEB_API_REQUEST_TIMEOUT_MS=30000 \
    ORCHESTRATION_ENABLED=true \
    ORCHESTRATION_POLL_INTERVAL_MS=500 \
    ORCHESTRATION_MAX_CONCURRENT_TASKS=100 \
    DATABASE_POOL_SIZE=20 \
    DATABASE_MAX_CONNECTIONS=50 \
    DATABASE_CONNECTION_TIMEOUT_SECONDS=30 \
    CIRCUIT_BREAKER_ENABLED=true \
    CIRCUIT_BREAKER_FAILURE_THRESHOLD=5 \
    CIRCUIT_BREAKER_RECOVERY_TIMEOUT_SECONDS=60
EXPOSE 8080
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD curl -f http://localhost:8080/health || exit 1
STOPSIGNAL SIGTERM
CMD ["./tasker-orchestration"]
