"""What every engine is: texts in, labels and scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class EngineUnavailable(Exception):
    """An engine can't serve this model here. The message says why, and what to do."""


@dataclass(frozen=True)
class Label:
    """What the model says of a text: ``score``, 0 to 1, is the probability of ``sentiment``.

    ``truncated_to`` is the number of tokens that were read, where there were more; else None.
    """

    sentiment: str
    score: float
    truncated_to: int | None


class Engine(Protocol):
    """A model, ready to compute.

    ``lanes`` is how many batches may be computed at a time, ``largest_batch`` how many texts one of them may have, and
    ``largest_batch_characters`` how many characters, if it has more than one text.
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
        """Label ``texts`` together. ``alone``: nothing else is computed meanwhile, so that all threads are free."""

    def close(self) -> None: ...
