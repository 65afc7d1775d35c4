# Tidemark alone. Built in one stage, run in another that has neither compiler nor sources.

FROM rust:1.95-bookworm AS build
# For Kafka by TLS: docker compose build --build-arg FEATURES=kafka-tls
ARG FEATURES=""
WORKDIR /build
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY schemas schemas
COPY log log
COPY connectors connectors
COPY sinks sinks
COPY pipelines pipelines
COPY replay replay
# Only their manifests count here, but Cargo reads those of all members.
COPY tests tests
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    cargo build --release --locked --package tidemark --features "$FEATURES" \
    && install -D target/release/tidemark /out/tidemark

FROM debian:bookworm-slim
# libssl3: used only by a build with kafka-tls; ca-certificates: whom to trust where anything is spoken to by TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/tidemark --shell /usr/sbin/nologin tidemark \
    && install -d -o tidemark -g tidemark -m 0700 /var/lib/tidemark \
    && install -d -o tidemark -g tidemark -m 0770 /import
COPY --from=build /out/tidemark /usr/local/bin/tidemark
USER tidemark
WORKDIR /var/lib/tidemark
VOLUME /var/lib/tidemark
EXPOSE 8787
ENTRYPOINT ["tidemark"]
CMD ["up", "--config", "/etc/tidemark/tidemark.toml", "--data", "/var/lib/tidemark"]
