# Data, training, evaluation, export. The package index decides whether PyTorch is for CUDA or for the CPU alone.
FROM python:3.11-slim

# pip's own settings, for another build of PyTorch or a package index of your own.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL

# The font of `recast data emoji`, and the compiler for the option `compile`; Debian's release fixes their versions.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends fonts-noto-color-emoji g++ \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
# There is no source yet, so this installs the libraries alone: a layer that stays when the code changes.
COPY pyproject.toml requirements.lock README.md LICENSE ./
RUN pip install --no-cache-dir --constraint requirements.lock '.[cpu,train]'
RUN --mount=type=bind,target=.,rw pip install --no-cache-dir --no-deps --force-reinstall .

RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin recast \
    && install --directory --owner=recast --group=recast /data
USER 10001:10001
# PyTorch names a folder after the user, so a container with another user id needs USER. NVIDIA_DRIVER_CAPABILITIES tells
# NVIDIA's runtime which parts of the driver the container needs.
ENV HOME=/tmp USER=recast PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /data
ENTRYPOINT ["recast"]
CMD ["--help"]
