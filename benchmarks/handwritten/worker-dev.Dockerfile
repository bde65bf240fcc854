# Frozen baseline, not to be improved: see README.md. Section 3.9 of the hand-written folder's description.
FROM tasker-bench-handwritten/builder-base:latest AS worker-dev-builder
WORKDIR /app
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle; \
    fi \
    && cargo build -p tasker-worker-rust --all-features
RUN ls -la target/debug/rust-worker

FROM debian:trixie-slim AS dev-runtime
RUN apt-get update && apt-get install -y \
    ca-certificates \
    libssl3t64 \
    libpq5 \
    curl \
    netcat-traditional \
    procps \
    htop \
    jq \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1001 --shell /bin/bash tasker
WORKDIR /app
RUN mkdir -p /app/config /app/logs /app/tmp /app/debug \
    && chown -R tasker:tasker /app
COPY --from=worker-dev-builder --chown=tasker:tasker /app/target/debug/rust-worker /app/tasker-worker-rust
COPY --chown=tasker:tasker config/ /app/config/
COPY --chmod=755 <<'HELPER' /app/debug/worker-status.sh
#!/bin/bash
echo "=== worker ==="
curl -s http://localhost:8081/health || echo unhealthy
nc -z postgres 5432 && echo connected || echo disconnected
free -m
ps aux | grep tasker
HELPER
USER tasker
ENV TASKER_ENV=development \
    DATABASE_URL=postgresql://tasker:tasker@postgres:5432/tasker_development \
    WORKSPACE_PATH=/app \
    TASKER_CONFIG_ROOT=/app/config \
    RUST_LOG=debug \
    RUST_BACKTRACE=full
EXPOSE 8081 6669
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=5 \
    CMD /app/debug/worker-status.sh
STOPSIGNAL SIGINT
CMD ["./tasker-worker-rust"]
