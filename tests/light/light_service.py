"""The service with a word list in place of the model. App, server, metrics file and headers are the same; no torch.

LIGHT_MS is how long it waits for each text. It uses no processor meanwhile, as if a model on another machine computed
it, so replicas that share the processors of a slow machine can still answer every request. LIGHT_AT_ONCE is for how
many texts it waits at once; the others queue. Without it, for all.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from inference.app import Service, create_app
from inference.classifier import Classification
from inference.configuration import METRICS_LOG_FILE, REPLICA_NAME
from inference.metrics_log import MetricsLog
from inference.model_choice import ModelChoice
from inference.server import listen, serve

WAIT_S = float(os.environ.get("LIGHT_MS") or 0) / 1000
AT_ONCE = int(os.environ.get("LIGHT_AT_ONCE") or 1000)
BAD_WORDS = {"awful", "bad", "boring", "broken", "cold", "dirty", "never", "no", "not", "rude", "worst"}


class WordListClassifier:
    """NEGATIVE if the text has one of a few bad words."""

    versions = {"word-list": "1"}
    engine = {"name": "word list", "device": "cpu", "threads": 1, "weights": "none", "why_not_faster": None}

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)

    async def classify(self, text: str, is_gone: Callable[[], bool]) -> Classification:
        arrived = time.perf_counter()
        async with self._room:
            began = time.perf_counter()
            await asyncio.sleep(WAIT_S)
        sentiment = "NEGATIVE" if BAD_WORDS & set(text.lower().split()) else "POSITIVE"
        queue_ms, inference_ms = (began - arrived) * 1000, (time.perf_counter() - began) * 1000
        return Classification(sentiment, 1.0, queue_ms, inference_ms, None)


if __name__ == "__main__":
    model = ModelChoice("word list", "folder", Path("word-list"), "0" * 64)
    with MetricsLog(METRICS_LOG_FILE.read()) as metrics:
        app = create_app(Service(WordListClassifier(), model, metrics, REPLICA_NAME.read()))
        serve(app, listen("0.0.0.0", 5000))
