# Fourfold itself: the command line that measures, in an image. (Dockerfile makes the image of the service.)
#
#   docker build -f Dockerfile.tool -t fourfold .
#   docker run --rm -v /var/run/docker.sock:/var/run/docker.sock -v "$PWD/results:/results" fourfold run --only docker,compose
#
# docs/install.md says what the container may do, and why.
ARG BASE=python:3.12-slim
ARG DOCKER_CLI=docker:28-cli

# The docker command with Compose and buildx.
FROM ${DOCKER_CLI} AS docker-cli

FROM ${BASE} AS wheel
WORKDIR /project
COPY . .
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi && \
    pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM ${BASE}
COPY --from=docker-cli /usr/local/bin/docker /usr/local/bin/docker
COPY --from=docker-cli /usr/local/libexec/docker/cli-plugins /usr/local/libexec/docker/cli-plugins
# The requirements change least: they come before the code.
COPY requirements.txt inference/requirements-serve.txt /tmp/requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi && \
    sed -i '/^-r /d' /tmp/requirements/requirements.txt && \
    pip install --no-cache-dir -r /tmp/requirements/requirements.txt -r /tmp/requirements/requirements-serve.txt && \
    find "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" -type d -name tests -prune -exec rm -rf {} +
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel pip install --no-cache-dir --no-deps /wheel/*.whl
# Any user may run it, as with --user "$(id -u):$(id -g)": docker and buildx keep their settings in HOME.
RUN install -d -m 1777 /home/fourfold
ENV HOME=/home/fourfold PYTHONUNBUFFERED=1
ENTRYPOINT ["python", "-m", "fourfold.in_container"]
CMD ["--help"]
