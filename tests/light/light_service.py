"""The service with a word list in the model's place: same app, server, metrics file and headers, and no torch.

LIGHT_MS makes it take that long for a text without using the processor, as a model elsewhere would: replicas that share
a slow machine's processors then still answer as often as they are asked.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from inference.app import Service, create_app, replica_name
from inference.classifier import Classification
from inference.metrics_log import MetricsLog
from inference.model_choice import ModelChoice
from inference.server import serve

WAIT_S = float(os.environ.get("LIGHT_MS") or 0) / 1000
BAD_WORDS = {"awful", "bad", "boring", "broken", "cold", "dirty", "never", "no", "not", "rude", "worst"}


class WordListClassifier:
    """NEGATIVE where one of a few bad words stands in the text."""

    versions = {"word-list": "1"}
    engine = {"name": "word list", "device": "cpu", "threads": 1, "weights": "none", "why_not_faster": None}

    async def classify(self, text: str, is_gone: Callable[[], bool]) -> Classification:
        began = time.perf_counter()
        await asyncio.sleep(WAIT_S)
        sentiment = "NEGATIVE" if BAD_WORDS & set(text.lower().split()) else "POSITIVE"
        return Classification(sentiment, 1.0, 0.0, (time.perf_counter() - began) * 1000, None)


if __name__ == "__main__":
    model = ModelChoice("word list", "folder", Path("word-list"), "0" * 64)
    with MetricsLog(Path(os.environ["METRICS_LOG_FILE"])) as metrics:
        serve(create_app(Service(WordListClassifier(), model, metrics, replica_name())), "0.0.0.0", 5000)
