# The service: HTTP, the page, jobs. Workers run the models, so there is neither ONNX Runtime nor PyTorch in it.
FROM python:3.11-slim

# pip's own settings, for a package index of your own.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL

WORKDIR /src
# There is no source yet, so this installs the libraries alone: a layer that stays when the code changes.
COPY pyproject.toml requirements.lock README.md LICENSE ./
RUN pip install --no-cache-dir --constraint requirements.lock '.[queue,otel]'
RUN --mount=type=bind,target=.,rw pip install --no-cache-dir --no-deps --force-reinstall .

# It writes only to storage, to the spool of uploads and to /tmp; a new volume takes its owner from here.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin recast \
    && install --directory --owner=recast --group=recast /storage /spool
USER 10001:10001
ENV HOME=/tmp TMPDIR=/spool PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 RECAST_STORAGE=/storage

EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["recast"]
CMD ["serve", "--host", "0.0.0.0"]
