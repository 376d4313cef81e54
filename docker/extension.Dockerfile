# The four reference extensions, one image with one program each time:
#   docker build -f docker/extension.Dockerfile --build-arg PROGRAM=beamline-pii-guard -t beamline-pii-guard .
FROM rust:1.95-bookworm AS build
ARG PROGRAM=beamline-mock-provider
WORKDIR /build
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
COPY actors actors
COPY bus bus
COPY chaos chaos
COPY contract contract
COPY domain domain
COPY extensions extensions
COPY benches benches
COPY migrations migrations
COPY src src
COPY tests tests
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/build/target \
    cargo build --release --locked -p beamline-reference-extensions --bin "$PROGRAM" && \
    cp "target/release/$PROGRAM" /extension

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /extension /usr/local/bin/extension
USER 65532:65532
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/extension"]
