# Skipstream server and command-line client.
#
#   docker build -t skipstream .
#   docker run --rm -p 50051:50051 -p 9464:9464 --stop-timeout 40 skipstream
#
# VARIANT=cpu (default) or cuda. The cuda image carries LibTorch with CUDA and every NVIDIA library that
# it loads; its server is still built without the CUDA executor, for which there is no nvcc here.
ARG VARIANT=cpu

FROM docker.io/library/debian:bookworm-slim AS build
ARG VARIANT
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src
# The slow layers first: they change only when a package list or a pinned wheel does.
COPY dev ./
COPY tools/dev tools/dev
# Debian stable fixes the versions; an exact pin would break at the next security fix.
# hadolint ignore=DL3008
RUN ./dev setup --minimal && rm -rf /var/lib/apt/lists/*
RUN python3 tools/dev/libtorch.py --variant "${VARIANT}" .deps/python

COPY . .
RUN cmake --preset container \
    && cmake --build --preset container --target skipstream-server skipstream
# The image's /opt/skipstream: bin finds lib and share beside itself.
RUN cmake --install build/container --strip --prefix /image \
    && mkdir -p /image/lib/torch/lib /image/lib/nvidia/cu13/lib /image/licenses \
    && cp LICENSE /image/licenses/ \
    && cp -r .deps/python/*.dist-info /image/licenses/ \
    # The CPU library of LibTorch names these and nothing else.
    && if [ "${VARIANT}" = cpu ]; then \
         cp -t /image/lib/torch/lib .deps/python/torch/lib/libtorch_cpu.so \
           .deps/python/torch/lib/libc10.so .deps/python/torch/lib/libgomp* \
         && cp -t /image/lib/nvidia/cu13/lib .deps/python/nvidia/cu13/lib/libcudart.so.* \
           .deps/python/nvidia/cu13/lib/libcupti.so.*; \
       else \
         cp -r -t /image/lib/torch .deps/python/torch/lib \
         && cp -r -t /image/lib .deps/python/nvidia; \
       fi \
    # A library that is missing must fail the build, not the start of the container.
    && ! ldd /image/bin/skipstream-server /image/bin/skipstream | grep 'not found'

FROM docker.io/library/debian:bookworm-slim
LABEL org.opencontainers.image.title="Skipstream" \
      org.opencontainers.image.description="Image generation with skip-tuned diffusion over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        libabsl20220623 libgrpc++1.51 libprometheus-cpp-core1.0 \
        libprotobuf32 libspdlog1.10 libspng0 libwebp7 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
        --uid 10001 skipstream
COPY --from=build /image /opt/skipstream
ENV PATH=/opt/skipstream/bin:$PATH
USER 10001
# gRPC and Prometheus metrics.
EXPOSE 50051 9464
# SIGTERM drains; --drain_timeout bounds it, so stop the container with a longer grace period.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["skipstream", "health", "--server=127.0.0.1:50051"]
ENTRYPOINT ["skipstream-server"]
