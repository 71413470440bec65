# The requirements change least, the model seldom, the code often: a change of code rebuilds the last lines only.
#
#   docker build .                  the image that serves with ONNX Runtime, without torch
#   docker build --target torch .   the same with the torch engine, for a model that the ONNX engine does not know
#
# Mirrors of a closed network are named by secrets: pip (a pip.conf), ca (certificates), torch-index (a URL) and hub (a file
# of HF_... variables). make image passes them on; docs/closed-networks.md says how. None of them is needed elsewhere.
FROM python:3.12-slim AS requirements
WORKDIR /app
COPY inference/requirements-serve.txt requirements.txt
# Tests that come with the packages serve nobody here; taken out in the same RUN, they are in no layer. So are pip's caches.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi && \
    pip install --no-cache-dir -r requirements.txt && \
    find "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" -type d -name tests -prune -exec rm -rf {} +

FROM requirements AS all-requirements
COPY inference/requirements*.txt /tmp/requirements/
# PyTorch's own index has builds without CUDA, which save gigabytes. Where it does not answer, one short try is all that is
# lost, and the next line takes torch from wherever the rest comes from.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca --mount=type=secret,id=torch-index \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi && \
    index=$(cat /run/secrets/torch-index 2>/dev/null || echo https://download.pytorch.org/whl/cpu) && \
    grep '^torch' /tmp/requirements/requirements.txt >/tmp/torch.txt && \
    (pip install --no-cache-dir --retries 0 --timeout 5 --index-url "$index" -r /tmp/torch.txt || true) && \
    pip install --no-cache-dir -r /tmp/requirements/requirements.txt && \
    cd "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" && \
    rm -rf torch/include torch/test torch/bin/test_* torch/bin/*Test torch/bin/protoc* && \
    find . -type d -name tests -prune -exec rm -rf {} +

# The model lies in the image, exported, so that no replica needs the network or the time for it. Another model than the
# default:
#   docker build --build-context model=FOLDER ..., where FOLDER/model was written by `python -m inference.fetch FOLDER/model`.
FROM all-requirements AS fetch
COPY inference inference
COPY texts texts
RUN --mount=type=secret,id=hub --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi && \
    if [ -f /run/secrets/hub ]; then set -a && . /run/secrets/hub; fi && \
    python -m inference.fetch /made/model

FROM fetch AS model
WORKDIR /
RUN mv /made/model /model

# What the ONNX engine does not read, the weights of the checkpoint, is left out.
FROM requirements AS exported-model
COPY --from=model /model /model
RUN test -f /model/onnx_engine/model.onnx || \
    { echo "error: the ONNX engine can't serve this model; build with --target torch" >&2; exit 1; } && \
    rm -f /model/*.safetensors

# /app holds the code and the metrics file, and that file is all that a user other than root may write: with a read-only
# root a container gets a volume over /app, which starts as a copy of this folder (the model lies elsewhere: no copy of it).
# chmod: a checkout made with umask 077 is readable by its owner alone.
FROM all-requirements AS torch
COPY --from=model /model /model
COPY inference/*.py inference/health.sh inference/
COPY inference/engines inference/engines
ENV METRICS_LOG_FILE=docker_system_inference_metrics.csv INFERENCE_MODEL=/model HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
RUN chmod -R a+rX inference && python -m compileall -q inference && install -m 666 /dev/null docker_system_inference_metrics.csv
EXPOSE 5000
CMD ["python", "-m", "inference"]

FROM requirements
COPY --from=exported-model /model /model
COPY inference/*.py inference/health.sh inference/
COPY inference/engines inference/engines
ENV METRICS_LOG_FILE=docker_system_inference_metrics.csv INFERENCE_MODEL=/model HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
RUN chmod -R a+rX inference && python -m compileall -q inference && install -m 666 /dev/null docker_system_inference_metrics.csv
EXPOSE 5000
CMD ["python", "-m", "inference"]
