# Rendered by tasker-build from dockerfile/postgres.Dockerfile.j2: change that or the spec, not this file; body sha256:96de136026bef675
# PostgreSQL 17 with PGMQ 1.13.0. PGMQ is plain SQL: no compiler and no shared library are needed.
ARG PYTHON_IMAGE=python:3.13-slim-trixie
ARG SERVER_IMAGE=postgres:17-trixie

# The wheel of PGMQ's Python client carries the extension's SQL; it is pinned by its hash.
FROM ${PYTHON_IMAGE} AS pgmq
WORKDIR /pgmq
RUN --mount=type=secret,id=ca_bundle \
    if [ -s /run/secrets/ca_bundle ]; then \
        export SSL_CERT_FILE=/run/secrets/ca_bundle CARGO_HTTP_CAINFO=/run/secrets/ca_bundle PIP_CERT=/run/secrets/ca_bundle; \
    fi \
    && echo "pgmq==1.1.4 --hash=sha256:4d9e7aa517295669d46a11d3d13106efbdc738d0e127d84c567b6d4c936e7d1d" > requirements.txt \
    && pip download --no-cache-dir --no-deps --require-hashes --dest . --requirement requirements.txt \
    && python -m zipfile -e pgmq-*.whl wheel \
    && install -D -m 0644 wheel/pgmq/sql/pgmq.sql "/out/pgmq--1.13.0.sql" \
    && printf '%s\n' "comment = 'A lightweight message queue'" "default_version = '1.13.0'" \
        "schema = 'pgmq'" "relocatable = false" "superuser = false" > /out/pgmq.control

FROM ${SERVER_IMAGE} AS runtime
COPY --from=pgmq /out/ /usr/share/postgresql/17/extension/
LABEL description="PostgreSQL 17 with PGMQ and UUID v7" \
      maintainer="tasker-systems" \
      base-image="postgres:17-trixie" \
      extensions="pgmq,uuid_v7"
# The server's own account: nothing in here runs as root.
USER 999:999
STOPSIGNAL SIGINT
