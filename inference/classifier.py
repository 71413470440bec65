"""What the app needs from a model: a text in, a label out, and how long that took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class QueueFull(Exception):
    """As many texts wait as are allowed. This one is refused."""


class ClientGone(Exception):
    """The client has closed the connection. Its text was not computed."""


@dataclass(frozen=True)
class Classification:
    """What the model said about one text, and how long it took.

    ``score`` is the probability of ``sentiment``, 0 to 1. ``queue_ms`` is how long the text waited for the model.
    ``inference_ms`` is the time from the text to its label, tokenizing included; texts that were computed together have
    the same. ``truncated_to`` is the number of tokens that the model read of a longer text; None if it read all.
    """

    sentiment: str
    score: float
    queue_ms: float
    inference_ms: float
    truncated_to: int | None


class Classifier(Protocol):
    """Labels texts. The record of a run holds ``versions`` (of its libraries) and ``engine`` (its inference engine)."""

    versions: dict[str, str]
    engine: dict[str, Any]

    async def classify(self, text: str, is_gone: Callable[[], bool]) -> Classification:
        """Label ``text``, unless ``is_gone`` is true when its turn comes. ``is_gone`` may be called in any thread.

        Raises:
            QueueFull: too many texts wait already.
            ClientGone: ``is_gone`` was true.
        """
