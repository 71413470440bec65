"""From a text to a label: the model, run by transformers on torch."""

from __future__ import annotations

import platform
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from inference.model_choice import ModelUnavailable


@dataclass(frozen=True)
class Classification:
    """What the model said of one text, and how long it took.

    ``score`` is the probability of ``sentiment``, 0 to 1. ``queue_ms`` is the time the text waited for the model,
    ``inference_ms`` that from the text to the label (tokenizing included). ``truncated_to`` is the number of tokens
    that were read of a text longer than the model takes, None where all of it was read.
    """

    sentiment: str
    score: float
    queue_ms: float
    inference_ms: float
    truncated_to: int | None


class Classifier(Protocol):
    """What the app needs of a model. ``versions`` names the libraries that compute, for the record of a run."""

    versions: dict[str, str]

    def classify(self, text: str) -> Classification: ...


class TransformersClassifier:
    """A sequence classifier from a folder, loaded and run in one native thread of its own.

    One thread, since torch uses all cores for one text anyway, and since a model loaded in one thread and run in
    another is measurably slower.

    Raises:
        ModelUnavailable: the folder's files are not those of a sequence classifier.
    """

    def __init__(self, folder: Path) -> None:
        self.versions = {name: version(name) for name in ("torch", "transformers")}
        self.versions["python"] = platform.python_version()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._thread.submit(self._load, folder).result()

    def classify(self, text: str) -> Classification:
        """Label ``text``; waits while other texts are before it."""
        return self._thread.submit(self._classify, text, time.perf_counter()).result()

    def close(self) -> None:
        self._thread.shutdown()

    def _load(self, folder: Path) -> None:
        # Imported here: seconds, which only a service that computes has to spend.
        import torch  # noqa: PLC0415
        import transformers  # noqa: PLC0415

        self._torch = torch
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            transformers.utils.logging.disable_progress_bar()
            self._model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        except Exception as error:  # each library below raises errors of its own over a file that is none
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelUnavailable(f"the model in {folder} can't be loaded: {reason}") from error
        self._max_tokens = min(self._tokenizer.model_max_length, _positions(self._model.config))

    def _classify(self, text: str, asked_at: float) -> Classification:
        started_at = time.perf_counter()
        inputs = self._tokenizer(text, truncation=True, max_length=self._max_tokens, return_tensors="pt")
        with self._torch.inference_mode():
            probabilities = self._model(**inputs).logits[0].softmax(-1)
        best = int(probabilities.argmax())
        score = float(probabilities[best])
        ended_at = time.perf_counter()
        return Classification(
            sentiment=self._model.config.id2label[best],
            score=score,
            queue_ms=(started_at - asked_at) * 1000,
            inference_ms=(ended_at - started_at) * 1000,
            truncated_to=self._max_tokens if self._is_longer(text, inputs["input_ids"].shape[1]) else None,
        )

    def _is_longer(self, text: str, tokens_read: int) -> bool:
        return bool(tokens_read == self._max_tokens < len(self._tokenizer(text, verbose=False)["input_ids"]))


def _positions(config: Any) -> int:
    """How many tokens a model has positions for. RoBERTa and its kin count them from behind the padding's own."""
    positions = int(getattr(config, "max_position_embeddings", 512))
    return positions - config.pad_token_id - 1 if "roberta" in config.model_type else positions
