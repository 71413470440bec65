"""Mosec with a transformers classifier, tokenizing in one stage and computing in batches in the next; or, with ENGINE
onnx, with this project's own engine. ``python -m benchmarks.served.mosec_app MODEL ENGINE --port PORT``"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import mosec

# Mosec starts its workers as new processes and parses the command line itself: what is ours goes by the environment.
if "BENCHMARK_MODEL" not in os.environ:
    os.environ["BENCHMARK_MODEL"], os.environ["BENCHMARK_ENGINE"] = sys.argv[1:3]
    del sys.argv[1:3]
MODEL, ENGINE = os.environ["BENCHMARK_MODEL"], os.environ["BENCHMARK_ENGINE"]


class Tokenize(mosec.Worker):  # type: ignore[misc]  # mosec may not be installed where types are checked
    def __init__(self) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(MODEL)

    def forward(self, data: Any) -> Any:
        return self.tokenizer(data["text"], truncation=True)


class Compute(mosec.Worker):  # type: ignore[misc]  # as above
    def __init__(self) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        self.torch = torch
        self.tokenizer = AutoTokenizer.from_pretrained(MODEL)
        self.model = AutoModelForSequenceClassification.from_pretrained(MODEL).eval()

    def forward(self, data: Any) -> Any:
        inputs = self.tokenizer.pad(data, return_tensors="pt")
        with self.torch.inference_mode():
            scores = self.model(**inputs).logits.softmax(-1)
        best = scores.argmax(-1)
        labels = self.model.config.id2label
        return [
            {"sentiment": labels[int(index)], "score": float(row[index])}
            for index, row in zip(best, scores, strict=True)
        ]


class OwnEngine(mosec.Worker):  # type: ignore[misc]  # as above
    def __init__(self) -> None:
        from inference.engines.onnx_engine import OnnxEngine

        self.engine = OnnxEngine(Path(MODEL) / "onnx_engine", threads=1)

    def forward(self, data: Any) -> Any:
        found = self.engine.classify([request["text"] for request in data], alone=False)
        return [{"sentiment": answer.sentiment, "score": answer.score} for answer in found]


if __name__ == "__main__":
    server = mosec.Server()
    if ENGINE == "onnx":
        server.append_worker(OwnEngine, num=os.cpu_count() or 1, max_batch_size=4, max_wait_time=1)
    else:
        server.append_worker(Tokenize, num=1)
        server.append_worker(Compute, num=1, max_batch_size=32, max_wait_time=5)
    server.run()
