# A worker, which runs the models; RUNTIME=gpu installs ONNX Runtime for CUDA, and CUDA itself, as Python packages.
FROM python:3.11-slim

ARG RUNTIME=cpu
# pip's own settings, for a package index of your own.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL

WORKDIR /src
# There is no source yet, so this installs the libraries alone: a layer that stays when the code changes.
COPY pyproject.toml requirements.lock README.md LICENSE ./
RUN pip install --no-cache-dir --constraint requirements.lock ".[${RUNTIME},queue,otel]"
RUN --mount=type=bind,target=.,rw pip install --no-cache-dir --no-deps --force-reinstall .

# It writes only to storage and to /tmp; a new volume takes its owner from here.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin recast \
    && install --directory --owner=recast --group=recast /storage
USER 10001:10001
# NVIDIA_DRIVER_CAPABILITIES tells NVIDIA's runtime which parts of the driver the container needs.
ENV HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 RECAST_STORAGE=/storage RECAST_WORKER_PORT=9000 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

EXPOSE 9000
# The worker does not answer until every bundle is warm.
HEALTHCHECK --interval=15s --timeout=5s --start-period=180s CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9000, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["recast"]
CMD ["work"]
