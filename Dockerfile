# The requirements change least, the model seldom, the code often: a change of code rebuilds the last lines only.
FROM python:3.12-slim AS requirements
WORKDIR /app
COPY inference/requirements.txt requirements.txt
# PyTorch's own index has builds without CUDA, which save gigabytes. Where it does not answer, one short try is all that is
# lost, and the next line takes torch from wherever the rest comes from. Tests, test programs and C++ headers that come with
# the packages serve nobody here; taken out in the same RUN, they are in no layer.
RUN grep '^torch' requirements.txt >/tmp/torch.txt && \
    (pip install --no-cache-dir --retries 0 --timeout 5 --index-url https://download.pytorch.org/whl/cpu -r /tmp/torch.txt || true) && \
    pip install --no-cache-dir -r requirements.txt && \
    cd "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" && \
    rm -rf torch/include torch/test torch/bin/test_* torch/bin/*Test torch/bin/protoc* && \
    find . -type d -name tests -prune -exec rm -rf {} +

# The model lies in the image, so that no replica needs the network to start. Another model than the default:
#   docker build --build-context model=FOLDER ..., where FOLDER/model was written by `python -m inference.fetch FOLDER/model`.
FROM requirements AS fetch
COPY inference/__init__.py inference/model_choice.py inference/fetch.py inference/
COPY inference/bundled_model inference/bundled_model
RUN python -m inference.fetch /made/model

FROM fetch AS model
WORKDIR /
RUN mv /made/model /model

# /app holds the code and the metrics file, and that file is all that a user other than root may write: with a read-only
# root a container gets a volume over /app, which starts as a copy of this folder (the model lies elsewhere: no copy of it).
FROM requirements
COPY --from=model /model /model
COPY inference inference
ENV METRICS_LOG_FILE=docker_system_inference_metrics.csv INFERENCE_MODEL=/model HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
RUN python -m compileall -q inference && install -m 666 /dev/null docker_system_inference_metrics.csv
EXPOSE 5000
CMD ["python", "-m", "inference"]
