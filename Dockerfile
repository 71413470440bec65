# The requirements change least, the model seldom, the code often: a change of code rebuilds the last lines only.
FROM python:3.12-slim AS requirements
WORKDIR /app
COPY inference/requirements.txt requirements.txt
# PyTorch's own index has builds without CUDA, which save gigabytes. Where it does not answer, one short try is all that is
# lost, and the second line takes torch from wherever the rest comes from.
RUN grep '^torch' requirements.txt >/tmp/torch.txt && \
    (pip install --no-cache-dir --retries 0 --timeout 5 --index-url https://download.pytorch.org/whl/cpu -r /tmp/torch.txt || true)
RUN pip install --no-cache-dir -r requirements.txt

# The model lies in the image, so that no replica needs the network to start. Another model than the default:
#   docker build --build-context model=FOLDER ..., where FOLDER/model was written by `python -m inference.fetch FOLDER/model`.
FROM requirements AS fetch
COPY inference/__init__.py inference/model_choice.py inference/fetch.py inference/
COPY inference/bundled_model inference/bundled_model
RUN python -m inference.fetch /made/model

FROM fetch AS model
WORKDIR /
RUN mv /made/model /model

FROM requirements
COPY --from=model /model model
COPY inference inference
ENV METRICS_LOG_FILE=docker_system_inference_metrics.csv INFERENCE_MODEL=/app/model HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
EXPOSE 5000
CMD ["python", "-m", "inference"]
