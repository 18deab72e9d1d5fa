# lrwatch without torch: contract verification, the node's metrics, the ledger, verify, diff, reports.
#   docker build -f deploy/containers/tools.Dockerfile -t lrwatch/tools:0.1.0 .
# Context is the repository. Give BASE by digest to have the same image for ever.
ARG BASE=docker.io/library/python:3.12.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 SOURCE_DATE_EPOCH=315532800
WORKDIR /src
COPY deploy/containers/requirements.txt deploy/containers/requirements-build.txt /requirements/
RUN python -m venv /build && /build/bin/pip install --require-hashes -r /requirements/requirements-build.txt \
 && python -m venv /opt/lrwatch && /opt/lrwatch/bin/pip install --require-hashes -r /requirements/requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY lrwatch lrwatch
COPY alerts alerts
COPY dashboards dashboards
COPY deploy deploy
RUN /build/bin/python -m hatchling build -t wheel -d /wheel \
 && /opt/lrwatch/bin/pip install --no-index --no-deps /wheel/*.whl \
 && rm -rf /opt/lrwatch/lib/python3.12/site-packages/pip* /opt/lrwatch/bin/pip*

FROM ${BASE}
LABEL org.opencontainers.image.title="lrwatch tools" org.opencontainers.image.licenses="Apache-2.0"
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin lrwatch \
 && install -d -o 10001 -g 10001 /runs /state
COPY --from=build /opt/lrwatch /opt/lrwatch
ENV PATH=/opt/lrwatch/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 NO_COLOR=1
USER 10001:10001
WORKDIR /runs
# Of whatever serves: the ledger, or with LRWATCH_HEALTH the node's metrics. Kubernetes has probes of its own.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(os.environ.get('LRWATCH_HEALTH') or 'http://127.0.0.1:9477/metrics', timeout=5)"]
ENTRYPOINT ["lrwatch"]
CMD ["--help"]
