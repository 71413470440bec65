"""The fast inference engine: the packed graph on ONNX Runtime. It needs neither torch nor transformers."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

# The service sends no reports to anybody. ONNX Runtime reads this when it is imported: without it, it then writes an ID
# of the machine and its first reports to the user's cache, and later sends them (github.com/microsoft/onnxruntime,
# pull request 27379). The call below is for Windows, which has other reports.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from inference.engines.engine import Label

onnxruntime.disable_telemetry_events()

# The tokenizer's own threads would have to wait for a processor behind the lanes, and the lane that waits for them
# would lose a millisecond in each batch.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

GRAPH_FILE, TOKENIZER_FILE, FACTS_FILE = "model.onnx", "tokenizer.json", "engine.json"

LARGEST_BATCH = 6
LARGEST_BATCH_CHARACTERS = 600
"""Some 140 tokens. Longer batches gain nothing: the cost of attention grows with the square of their length, and all
their texts wait until the last one is done."""

COMPARED_TOGETHER = 4
"""Texts of any length. With more of them, attention could fill the memory: it needs the square of their length."""

ELSEWHERE = np.float32(-1e9)
"""Added to the attention of a token to a token of another text, so that nothing is left of it."""


class OnnxEngine:
    """A loaded folder that ``inference.engines.export`` wrote.

    There are two sessions of the same weights. One computes a lone batch with all threads; in the other, each caller
    computes a batch on its own thread. So both a lone request and many at a time are answered as fast as possible.
    """

    name = "onnx"
    device = "cpu"
    largest_batch = LARGEST_BATCH
    largest_batch_characters = LARGEST_BATCH_CHARACTERS

    def __init__(self, folder: Path, threads: int) -> None:
        facts = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        self.threads = self.lanes = threads
        self.weights = facts["weights"]
        self.versions = {name: version(name) for name in ("onnxruntime", "tokenizers")}
        self.versions["python"] = platform.python_version()
        self._labels = facts["labels"]
        self._max_tokens = facts["max_tokens"]
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._max_tokens)
        self._single = _session(folder / GRAPH_FILE, 1)
        self._wide = _session(folder / GRAPH_FILE, threads) if threads > 1 else self._single

    def classify(self, texts: Sequence[str], *, alone: bool) -> list[Label]:
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        scores = self._probabilities([encoding.ids for encoding in encodings], self._wide if alone else self._single)
        best = scores.argmax(axis=1)
        return [
            Label(self._labels[index], float(row[index]), self._max_tokens if encoding.overflowing else None)
            for encoding, index, row in zip(encodings, best, scores, strict=True)
        ]

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The probabilities [texts, labels], computed in batches as under load."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]
        parts = range(0, len(ids), COMPARED_TOGETHER)
        return np.concatenate([self._probabilities(ids[at : at + COMPARED_TOGETHER], self._wide) for at in parts])

    def _probabilities(self, ids: list[list[int]], session: Any) -> NDArray[np.float32]:
        logits = session.run(None, packed(ids))[0]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def close(self) -> None:
        """There is nothing to end: no thread runs on after the last batch."""


def packed(ids: list[list[int]]) -> dict[str, NDArray[Any]]:
    """The token numbers of a batch, one text behind the other, as the packed graph takes them."""
    lengths = np.array([len(text) for text in ids])
    first = np.cumsum(lengths) - lengths
    tokens = np.array([number for text in ids for number in text])
    whose = np.repeat(np.arange(len(ids)), lengths)
    bias = np.where(whose[:, None] == whose, np.float32(0), ELSEWHERE)
    return {"ids": tokens, "positions": np.arange(len(tokens)) - first[whose], "first": first, "bias": bias[None]}


def _session(graph: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    )  # its operators are fused already
    # Within a batch the threads spin while they wait for the next operator: waking them would take as long as a small
    # operator does. Between batches they must not spin: they would take processors from the other lanes, the server and
    # other replicas.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
