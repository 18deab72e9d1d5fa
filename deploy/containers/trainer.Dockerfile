# The reference trainer: lrwatch with torch.
#   docker build -f deploy/containers/trainer.Dockerfile -t lrwatch/trainer:0.1.0 .
#   docker build -f deploy/containers/trainer.Dockerfile -t lrwatch/trainer:0.1.0-cuda \
#     --build-arg BASE=docker.io/nvidia/cuda:12.6.3-cudnn-runtime-ubuntu24.04 .
# Context is the repository. BASE has Python 3.12, or is an Ubuntu 24.04 that can get it. TORCH_INDEX is an index with builds
# of torch for your accelerator, or for CPUs only; without it the default index's build, which runs on both and is large.
ARG BASE=docker.io/library/python:3.12.11-slim-bookworm

FROM ${BASE}
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=
LABEL org.opencontainers.image.title="lrwatch trainer" org.opencontainers.image.licenses="Apache-2.0"
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 SOURCE_DATE_EPOCH=315532800
RUN if ! command -v python3.12 >/dev/null; then \
        apt-get update -qq \
     && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3.12 python3.12-venv \
     && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log; \
    fi \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin lrwatch \
 && install -d -o 10001 -g 10001 /runs /snapshots
COPY deploy/containers/requirements.txt deploy/containers/requirements-build.txt /requirements/
# torch first: what comes after must not choose another.
RUN python3.12 -m venv /opt/lrwatch \
 && /opt/lrwatch/bin/pip install --require-hashes -r /requirements/requirements.txt \
 && /opt/lrwatch/bin/pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$TORCH"
COPY pyproject.toml README.md LICENSE /src/
COPY lrwatch /src/lrwatch
COPY alerts /src/alerts
COPY dashboards /src/dashboards
COPY deploy /src/deploy
RUN python3.12 -m venv /build && /build/bin/pip install --require-hashes -r /requirements/requirements-build.txt \
 && cd /src && /build/bin/python -m hatchling build -t wheel -d /wheel \
 && /opt/lrwatch/bin/pip install --no-index --no-deps /wheel/*.whl \
 && rm -rf /src /build /wheel /requirements
ENV PATH=/opt/lrwatch/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 NO_COLOR=1 OMP_NUM_THREADS=1
USER 10001:10001
WORKDIR /runs
# Of a trainer that serves its metrics on --port 9478. Kubernetes has probes of its own.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(os.environ.get('LRWATCH_HEALTH') or 'http://127.0.0.1:9478/metrics', timeout=5)"]
ENTRYPOINT ["lrwatch"]
CMD ["train", "--help"]
