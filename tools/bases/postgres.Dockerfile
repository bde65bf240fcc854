# Stand-in: Debian's own PostgreSQL, of the release or of another suite, laid out like the public image (user, paths, start-up, variables).
ARG BASE=scratch
FROM ${BASE}
ARG PG_MAJOR
ARG PG_SUITE
# Up to 17 the volume is the data folder; from 18 on it holds one folder for each version.
ARG PG_VOLUME=/var/lib/postgresql/data
ARG PGDATA=/var/lib/postgresql/data
# The user first, else the package makes one with another number. The cluster is switched off between the two
# installations, else one is made in the image.
RUN groupadd --system --gid 999 postgres \
 && useradd --system --uid 999 --gid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres \
 && if [ -n "${PG_SUITE}" ]; then \
      sed -n "1,/^\$/p" /etc/apt/sources.list.d/*.sources | sed "s/^Suites: .*/Suites: ${PG_SUITE}/" > /etc/apt/sources.list.d/newer.sources \
      && printf 'Package: *\nPin: release n=%s\nPin-Priority: 100\n' "${PG_SUITE}" > /etc/apt/preferences.d/newer; \
    fi \
 && apt-get update \
 && apt-get install -y --no-install-recommends libnss-wrapper locales postgresql-common \
 && sed -i 's/^#\? *create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf \
 && apt-get install -y --no-install-recommends ${PG_SUITE:+-t "${PG_SUITE}"} postgresql-${PG_MAJOR} \
 && rm -rf /var/lib/apt/lists/* /etc/apt/sources.list.d/newer.sources /etc/apt/preferences.d/newer \
 && localedef -i en_US -f UTF-8 en_US.UTF-8 \
 && sed -i "s/^#\?listen_addresses.*/listen_addresses = '*'/" /usr/share/postgresql/${PG_MAJOR}/postgresql.conf.sample \
 && mkdir -p /docker-entrypoint-initdb.d "${PG_VOLUME}" \
 && chown postgres:postgres /var/lib/postgresql "${PG_VOLUME}" /var/run/postgresql \
 && chmod 1777 "${PG_VOLUME}" && chmod 3777 /var/run/postgresql
ENV LANG=en_US.utf8 \
    PG_MAJOR=${PG_MAJOR} \
    PGDATA=${PGDATA} \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/${PG_MAJOR}/bin
COPY --chmod=0755 postgres.entrypoint.sh /usr/local/bin/docker-entrypoint.sh
VOLUME ${PG_VOLUME}
EXPOSE 5432
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
