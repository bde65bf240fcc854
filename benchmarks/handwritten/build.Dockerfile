# Frozen baseline, not to be improved: see README.md. Section 3.1 of the hand-written folder's description.
FROM rust:1.89-trixie AS chef
WORKDIR /app
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle; \
    fi \
    && cargo install --locked cargo-chef@0.1.78
RUN apt-get update && apt-get install -y \
    pkg-config \
    libssl-dev \
    libpq-dev \
    build-essential \
    ca-certificates \
    && rm -rf /var/lib/apt/lists/*

FROM chef AS planner
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo/ .cargo/
COPY tasker-shared/ tasker-shared/
COPY tasker-worker/ tasker-worker/
COPY tasker-orchestration/ tasker-orchestration/
COPY tasker-client/ tasker-client/
COPY pgmq-notify/ pgmq-notify/
COPY unify/ unify/
COPY workers/ workers/
COPY src/ src/
COPY migrations/ migrations/
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
COPY --from=planner /app/recipe.json recipe.json
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle; \
    fi \
    && cargo chef cook --release --recipe-path recipe.json
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo/ .cargo/
COPY tasker-shared/ tasker-shared/
COPY tasker-worker/ tasker-worker/
COPY tasker-orchestration/ tasker-orchestration/
COPY tasker-client/ tasker-client/
COPY pgmq-notify/ pgmq-notify/
COPY unify/ unify/
COPY workers/ workers/
COPY src/ src/
COPY migrations/ migrations/
ENV RUST_LOG=info \
    DATABASE_URL=postgresql://tasker:tasker@postgres:5432/tasker_integration \
    SQLX_OFFLINE=true \
    TASKER_ENV=docker \
    WORKSPACE_PATH=/app \
    TASKER_CONFIG_ROOT=/app/config
