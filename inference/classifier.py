"""What the app needs of a model: a text in, a label out, and how long that took."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class QueueFull(Exception):
    """As many texts wait as may wait: this one is not taken."""


class ClientGone(Exception):
    """Whoever asked has closed the connection: the text was not computed."""


@dataclass(frozen=True)
class Classification:
    """What the model said of one text, and how long it took.

    ``score`` is the probability of ``sentiment``, 0 to 1. ``queue_ms`` is the time the text waited for the model,
    ``inference_ms`` that from the text to the label (tokenizing included), which texts computed together share.
    ``truncated_to`` is the number of tokens that were read of a text longer than the model takes, None where all of it
    was read.
    """

    sentiment: str
    score: float
    queue_ms: float
    inference_ms: float
    truncated_to: int | None


class Classifier(Protocol):
    """What computes. ``versions`` names its libraries and ``engine`` what it is, for the record of a run."""

    versions: dict[str, str]
    engine: dict[str, Any]

    async def classify(self, text: str, is_gone: Callable[[], bool]) -> Classification:
        """Label ``text``, unless ``is_gone``, called from any thread, says before its turn that nobody waits any more.

        Raises:
            QueueFull: too many texts wait already.
            ClientGone: nobody waits for the answer.
        """
