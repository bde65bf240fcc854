# Rendered by tasker-build from dockerfile/postgres.Dockerfile.j2: change that or the spec, not this file; body sha256:3410661f1d8b23b7
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
COPY --chmod=0755 <<'HEALTH' /usr/local/bin/database-health
#!/bin/sh
# Healthy is a database that takes connections and has PGMQ. Asked over TCP: the server that runs the init files listens on
# its socket only. One failed check is enough to be unhealthy, so a connection is tried three times in one check; an answer
# is final: without PGMQ no service can work.
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-${user}}
for pause in 1 1 0; do
    if pg_isready -q -t 1 -h 127.0.0.1 -U "${user}" -d "${database}"; then
        psql -U "${user}" -d "${database}" -qAtXc 'SELECT count(*) FROM pgmq.meta'
        code=$?
        # 2: no connection after all.
        if [ "${code}" -eq 0 ]; then exit 0; elif [ "${code}" -ne 2 ]; then exit 1; fi
    fi
    sleep "${pause}"
done
echo "no connection to ${database} as ${user}"
exit 1
HEALTH

LABEL description="PostgreSQL 17 with PGMQ and UUID v7" \
      maintainer="tasker-systems" \
      base-image="postgres:17-trixie" \
      extensions="pgmq,uuid_v7"
# The server's own account: nothing in here runs as root.
USER 999:999
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --start-interval=1s --retries=1 \
    CMD ["database-health"]
STOPSIGNAL SIGINT
