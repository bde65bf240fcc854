# Stand-in: the release's own Ruby with bundler and headers; gems go where they go in the public image.
ARG BASE=scratch
FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends ruby ruby-bundler ruby-dev \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir -m 1777 -p /usr/local/bundle \
 && ruby -rfiddle -e 'puts RUBY_VERSION'
ENV LANG=C.UTF-8 \
    GEM_HOME=/usr/local/bundle \
    BUNDLE_SILENCE_ROOT_WARNING=1 \
    BUNDLE_APP_CONFIG=/usr/local/bundle \
    PATH=/usr/local/bundle/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["irb"]
