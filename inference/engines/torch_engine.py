"""The reference: transformers' own model on torch, in fp32, in batches."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from inference.engines.engine import Label
from inference.model_choice import ModelUnavailable

LARGEST_BATCH = 32

LARGEST_BATCH_CHARACTERS = 8000

MOST_PADDING = 0.2
"""Texts are computed together only while padding is at most this share of the tokens."""


class TorchEngine:
    """A sequence classifier from a folder, loaded and run in a native thread of its own.

    One thread is enough, since torch uses all cores for one batch. The model is loaded in the same thread, since it is
    measurably slower if it was loaded in another one.

    Raises:
        ModelUnavailable: the files in the folder are not those of a sequence classifier.
    """

    name = "torch"
    weights = "fp32"
    lanes = 1
    largest_batch = LARGEST_BATCH
    largest_batch_characters = LARGEST_BATCH_CHARACTERS

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        self.device = device
        self.threads = threads
        self.versions = {name: version(name) for name in ("torch", "transformers")}
        self.versions["python"] = platform.python_version()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="torch")
        self._thread.submit(self._load, folder).result()

    def classify(self, texts: Sequence[str], *, alone: bool) -> list[Label]:
        return self._thread.submit(self._classify, texts).result()

    def probabilities(self, texts: Sequence[str]) -> Any:
        """The probabilities [texts, labels], as a numpy array."""
        return self._thread.submit(lambda: self._probabilities(self._ids(texts)).numpy()).result()

    def close(self) -> None:
        self._thread.shutdown()

    @property
    def tokenizer(self) -> Any:
        """transformers' tokenizer."""
        return self._tokenizer

    @property
    def labels(self) -> list[str]:
        return [self._model.config.id2label[number] for number in range(self._model.config.num_labels)]

    @property
    def max_tokens(self) -> int:
        """How many tokens of a text the model reads."""
        return int(min(self._tokenizer.model_max_length, _positions(self._model.config)))

    def _load(self, folder: Path) -> None:
        # Imported here, since it takes seconds, which only a service that computes with torch should spend.
        import torch  # noqa: PLC0415
        import transformers  # noqa: PLC0415

        self._torch = torch
        torch.set_num_threads(self.threads)
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            transformers.utils.logging.disable_progress_bar()
            model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
            self._model = model.to(self.device).eval()
            if self.device == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
                _multiply_by_onednn(torch, self._model)
        except Exception as error:  # each library below has its own errors for a file that it can't read
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelUnavailable(f"the model in {folder} can't be loaded: {reason}") from error

    def _classify(self, texts: Sequence[str]) -> list[Label]:
        ids = self._ids(texts)
        labels = self.labels
        found = []
        for text, numbers, row in zip(texts, ids, self._probabilities(ids).tolist(), strict=True):
            best = max(range(len(row)), key=row.__getitem__)
            truncated_to = self.max_tokens if self._is_longer(text, len(numbers)) else None
            found.append(Label(labels[best], row[best], truncated_to))
        return found

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        found = self._tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        return [list(numbers) for numbers in found]

    def _probabilities(self, ids: list[list[int]]) -> Any:
        torch = self._torch
        found = torch.empty(len(ids), self._model.config.num_labels)
        with torch.inference_mode():
            for numbers in _alike([len(text) for text in ids]):
                rows = {"input_ids": [ids[number] for number in numbers]}
                batch = self._tokenizer.pad(rows, return_tensors="pt").to(self.device)
                found[numbers] = self._model(**batch).logits.softmax(-1).float().cpu()
        return found

    def _is_longer(self, text: str, tokens_read: int) -> bool:
        return tokens_read == self.max_tokens < len(self._tokenizer(text, verbose=False)["input_ids"])


def _multiply_by_onednn(torch: Any, model: Any) -> None:
    """Let oneDNN compute the linear layers, still in fp32. By itself torch uses MKL, which uses AVX-512 on Intel's
    processors only and takes twice as long on others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch warns about its own code
        from torch.utils.mkldnn import to_mkldnn  # noqa: PLC0415  as above

    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Linear):
                setattr(module, name, to_mkldnn(child))  # type: ignore[no-untyped-call]


def _alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Groups of texts of similar length, as indexes, so that short texts get little padding."""
    group: list[int] = []
    tokens = 0
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[number]
        padded = length * (len(group) + 1)
        if group and ((padded - tokens - length) > MOST_PADDING * padded or len(group) == LARGEST_BATCH):
            yield group
            group, tokens = [], 0
        group.append(number)
        tokens += length
    if group:
        yield group


def _positions(config: Any) -> int:
    """How many tokens a model has positions for. RoBERTa and its kin reserve the first ones for padding."""
    positions = int(getattr(config, "max_position_embeddings", 512))
    return positions - config.pad_token_id - 1 if "roberta" in config.model_type else positions
