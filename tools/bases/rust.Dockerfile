# Stand-in: a C tool set and one exact Rust toolchain, laid out like the public Rust image.
ARG BASE=scratch
FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      curl file g++ gcc git libc6-dev libssl-dev make patch perl pkg-config rustup unzip xz-utils \
 && rm -rf /var/lib/apt/lists/*
ARG RUST_VERSION
ENV RUSTUP_HOME=/usr/local/rustup \
    CARGO_HOME=/usr/local/cargo \
    PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    RUST_VERSION=${RUST_VERSION}
# rustup is one program that looks at the name it was called by. Any user may add components, as in the public image.
ARG RUSTUP_DIST_SERVER
RUN --mount=type=secret,id=ca_bundle,target=/etc/ssl/certs/ca-certificates.crt \
    mkdir -p "$CARGO_HOME/bin" \
 && for name in cargo cargo-clippy cargo-fmt clippy-driver rust-gdb rustc rustdoc rustfmt rustup; do \
      ln -s /usr/bin/rustup "$CARGO_HOME/bin/$name"; \
    done \
 && export ${RUSTUP_DIST_SERVER:+RUSTUP_DIST_SERVER=$RUSTUP_DIST_SERVER} RUSTUP_NO_UPDATE_CHECK=1 \
 && rustup toolchain install "$RUST_VERSION" --profile minimal \
 && rustup default "$RUST_VERSION" \
 && rm -rf "$RUSTUP_HOME/downloads" "$RUSTUP_HOME/tmp" \
 && chmod -R a+w "$RUSTUP_HOME" "$CARGO_HOME" \
 && rustc --version && cargo --version
CMD ["bash"]
