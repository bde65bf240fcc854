# Stand-in: the release's own Python as a virtual environment in /usr/local. So pip, site-packages and --prefix
# have the places that they have in the public image, and no marker file keeps pip from its work.
ARG BASE=scratch
FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/* \
 && python3 -m venv /usr/local \
 && rm -rf /usr/local/bin/activate* /usr/local/bin/Activate* \
 && python --version && pip --version
ENV LANG=C.UTF-8
CMD ["python3"]
