# A container image of `rollcall dev`, for trying Rollcall and for tests of products (make image).
#
#     docker run --rm --publish 3000:3000 rollcall-dev
#
# BUILD_IMAGE compiles, BASE_IMAGE is what the program runs on: glibc, libgcc, certificates. If target/image/rollcall
# exists, that program is taken and nothing is compiled.
ARG BUILD_IMAGE=rust:1.95-bookworm
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /source
COPY . .
RUN if [ ! -e target/image/rollcall ]; then \
        cargo build --locked --profile tool --features cli --bin rollcall \
        && mkdir -p target/image && cp target/tool/rollcall target/image/; \
    fi

FROM ${BASE_IMAGE}
COPY --from=build /source/target/image/rollcall /usr/bin/rollcall
USER 65532
EXPOSE 3000
ENTRYPOINT ["/usr/bin/rollcall"]
CMD ["dev", "--host", "0.0.0.0"]
