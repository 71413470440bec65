"""What every inference engine does: texts in, labels and scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class EngineUnavailable(Exception):
    """An inference engine can't serve this model here. The message says why, and what to do."""


@dataclass(frozen=True)
class Label:
    """What the model says about a text. ``score``, 0 to 1, is the probability of ``sentiment``.

    ``truncated_to`` is the number of tokens that the model read of a longer text; None if it read all.
    """

    sentiment: str
    score: float
    truncated_to: int | None


class Engine(Protocol):
    """A loaded model that computes.

    It computes up to ``lanes`` batches at the same time. A batch has at most ``largest_batch`` texts, and at most
    ``largest_batch_characters`` characters unless it is a single text.
    """

    name: str
    device: str
    threads: int
    weights: str
    versions: dict[str, str]
    lanes: int
    largest_batch: int
    largest_batch_characters: int

    def classify(self, texts: Sequence[str], *, alone: bool) -> list[Label]:
        """Label ``texts`` together. ``alone``: nothing else is computed meanwhile, so all threads are free."""

    def close(self) -> None: ...
