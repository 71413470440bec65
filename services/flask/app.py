"""An inference service with Flask: POST /infer with {"text": "..."} is answered with the sentiment of the text.

Started by `python app.py`. These environment variables change what it does:

    PORT               where it listens (5000)
    METRICS_LOG_FILE   the CSV file that gets a row for each answer (system_inference_metrics.csv)
    MODEL              another model of the Hugging Face hub, or a folder with a model
    BUNDLED_MODEL      a folder with a small model, for machines that do not reach the hub
"""

import csv
import os
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask, request
from huggingface_hub import model_info
from transformers import pipeline

DEFAULT_MODEL = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
# Fourfold comes with a small model. In a container this variable says where it is (see Dockerfile).
BUNDLED_MODEL = Path(os.environ.get("BUNDLED_MODEL", Path(__file__).parent / "../../inference/bundled_model")).resolve()
METRICS_LOG_FILE = Path(os.environ.get("METRICS_LOG_FILE", "system_inference_metrics.csv"))
HEADER = ["Inference Latency (ms)", "Prediction", "Input Text", "Timestamp"]
HUB_TIMEOUT_S = 5


def choose_model() -> str:
    """MODEL if it is set. If not: DistilBERT or, where the hub does not answer, the small model."""
    if "MODEL" in os.environ:
        return os.environ["MODEL"]
    try:
        # pipeline() asks the hub too. But if the hub does not answer, it tries for half a minute, and then it fails.
        model_info(DEFAULT_MODEL, timeout=HUB_TIMEOUT_S)
        return DEFAULT_MODEL
    except Exception as error:  # the libraries below have errors of their own; whatever it is, it is the reason
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
    if not BUNDLED_MODEL.is_dir():
        return DEFAULT_MODEL  # it may be in the cache of an earlier download
    print(f"The hub does not give {DEFAULT_MODEL} ({reason}). The small model serves instead.")
    return str(BUNDLED_MODEL)


app = Flask(__name__)
model = choose_model()
try:
    # The model is loaded once, before the first request, and not again for each request.
    classify = pipeline("sentiment-analysis", model=model)
except OSError as error:
    reason = str(error).partition("\n")[0]
    sys.exit(f"error: the model {model} can't be loaded ({reason}). Check its name and the network, or set MODEL.")
# Flask answers each request in a thread of its own. Only one of them at a time may use the model and the file.
lock = threading.Lock()


@app.post("/infer")
def infer() -> Any:
    sent = request.get_json()
    if not isinstance(sent, dict) or not isinstance(sent.get("text"), str):
        return {"error": 'send JSON with a text: {"text": "..."}'}, 400
    text = sent["text"]
    with lock:
        began = time.perf_counter()
        # The model reads at most 512 tokens. Without truncation a longer text is an error.
        answer = classify(text, truncation=True)[0]
        latency_ms = round((time.perf_counter() - began) * 1000, 2)
        write_row(latency_ms, answer["label"], text)
    return {"label": answer["label"], "score": answer["score"], "latency_ms": latency_ms}


def write_row(latency_ms: float, label: str, text: str) -> None:
    """Add a row to the CSV file. A new file gets the header first."""
    is_new = not METRICS_LOG_FILE.exists() or METRICS_LOG_FILE.stat().st_size == 0
    with METRICS_LOG_FILE.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")  # it puts quotes around texts with a comma
        if is_new:
            writer.writerow(HEADER)
        now = datetime.now(UTC).replace(tzinfo=None)
        writer.writerow([f"{latency_ms:.2f}", label, text, now.isoformat(timespec="microseconds")])


if __name__ == "__main__":
    print(f"The model {model} serves.", flush=True)
    # 0.0.0.0: every network of the machine. With 127.0.0.1 nobody outside a container reaches the service in it.
    app.run(host="0.0.0.0", port=int(os.environ.get("PORT", "5000")))  # noqa: S104
