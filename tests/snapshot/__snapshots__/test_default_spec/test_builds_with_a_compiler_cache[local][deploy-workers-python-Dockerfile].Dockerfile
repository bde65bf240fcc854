# Rendered by tasker-build from dockerfile/python-pyo3.Dockerfile.j2: change that or the spec, not this file; body sha256:11457f479d4a687b
# deploy/workers/python: a Python package with an extension module from cargo package tasker-worker-python.
ARG BUILDER_IMAGE=jcoletaylor/tasker-builder-base:workers-latest
ARG RUNTIME_IMAGE=python:3.13-slim-trixie

FROM ${BUILDER_IMAGE} AS python-builder
# maturin asks cargo about the whole workspace, and so for every locked package: more than what was cooked.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; \
    fi \
    && python3 -m venv /opt/maturin \
    && echo "maturin==1.16.0 --hash=sha256:837db2f4d93d4899c3ac393fb3cc9eebf35b6002336e5d574f4a4fb6c49fe283 --hash=sha256:e285ec9eb10243d45d10417178cb2eb76e0cbb184d0aa4378b503489fa12ee78" > /opt/maturin/requirements.txt \
    && /opt/maturin/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement /opt/maturin/requirements.txt \
    && CARGO_NET_RETRY=10 cargo fetch --locked
WORKDIR /app
ENV SQLX_OFFLINE="true"

# Manifests of the whole workspace, sources of what this image needs of it and nothing else.
COPY Cargo.toml ./
COPY tasker-orchestration/Cargo.toml tasker-orchestration/
COPY workers/ruby/ext/tasker_core/Cargo.toml workers/ruby/ext/tasker_core/
COPY workers/rust/Cargo.toml workers/rust/
COPY workers/wasm/host/Cargo.toml workers/wasm/host/
COPY Cargo.lock Cargo.toml ./
COPY .cargo/config.toml .cargo/
COPY pgmq-notify/ pgmq-notify/
COPY tasker-client/ tasker-client/
COPY tasker-shared/ tasker-shared/
COPY tasker-worker/ tasker-worker/
COPY unify/ unify/
COPY workers/python/ workers/python/
# Cargo compares times, and files keep theirs: what was copied has to be newer than what was cooked.
RUN --mount=type=secret,id=cargo_jobs --mount=type=cache,id=tasker-sccache-deploy-workers-python,target=/var/cache/sccache,sharing=locked \
    if [ -s /run/secrets/cargo_jobs ]; then CARGO_BUILD_JOBS=$(cat /run/secrets/cargo_jobs); export CARGO_BUILD_JOBS; fi \
    && find . -path ./target -prune -o -type f -exec touch {} + \
    && /opt/maturin/bin/maturin build --release --locked --offline \
        --interpreter python3 --compatibility linux --manifest-path workers/python/Cargo.toml --out /out \
    && sccache --show-stats > /tmp/sccache && sed '/^Cache location/d' /tmp/sccache && rm /tmp/sccache

FROM ${RUNTIME_IMAGE} AS runtime
RUN groupadd --gid 1001 tasker \
    && useradd --system --no-log-init --uid 1001 --gid 1001 --home-dir /app --no-create-home \
        --shell /bin/false tasker \
    && install -d -m 0755 /app \
    && install -d -m 0750 -o 1001 -g 1001 /app/config /app/logs
WORKDIR /app
COPY --chown=1001:1001 config/ /app/config/
RUN --mount=type=bind,from=python-builder,source=/out,target=/wheels \
    pip install --no-cache-dir --no-index --no-deps --root-user-action ignore /wheels/*.whl
USER 1001:1001
ENV TASKER_ENV="production" \
    WORKSPACE_PATH="/app" \
    TASKER_CONFIG_ROOT="/app/config" \
    RUST_LOG="info" \
    TASKER_WORKER_BIND="0.0.0.0:8083" \
    PYTHONUNBUFFERED="1" \
    PYTHONDONTWRITEBYTECODE="1"
EXPOSE 8083
HEALTHCHECK --interval=15s --timeout=5s --start-period=45s --start-interval=1s --retries=3 \
    CMD ["python", "-m", "tasker_python_worker", "healthcheck"]
STOPSIGNAL SIGTERM
CMD ["python", "-m", "tasker_python_worker"]
