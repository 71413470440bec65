"""Whether an inference engine says the same as the reference: the bar, and the texts that are compared."""

from __future__ import annotations

import csv
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEAST_SAME_LABEL = 0.99
MOST_MEAN_DIFFERENCE = 0.01
BORDER = 0.02
"""If the reference's own score is this close to 0.5, either label is right."""

HARDER_TEXTS = 2000

REVIEWS = Path(__file__).resolve().parents[2] / "texts" / "reviews.csv"
"""The texts that the load sends. They are not in the image that serves."""

HARD_SENTENCES = Path(__file__).parents[1] / "training" / "hard_sentences.csv"

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Agreement:
    """How far an inference engine agrees with the reference on ``texts`` texts.

    ``same_label`` is the number of texts with the same label. ``excused`` is the number of the other texts for which
    the reference itself is at the border. The differences are between probabilities, 0 to 1.
    """

    texts: int
    same_label: int
    excused: int
    mean_difference: float
    largest_difference: float

    def why_not(self, *, each: bool) -> str | None:
        """Why that is not enough; None if it is. ``each``: every label must be the same, except at the border."""
        least = self.texts - self.excused if each else LEAST_SAME_LABEL * self.texts
        if self.same_label < least:
            return f"the same label on {self.same_label} of {self.texts} texts, {self.excused} others at the border"
        if self.mean_difference > MOST_MEAN_DIFFERENCE:
            return f"scores differ by {self.mean_difference:.4f} on average over {self.texts} texts"
        return None

    def record(self) -> dict[str, Any]:
        return {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(self).items()}


def compare(reference: Scores, found: Scores) -> Agreement:
    """The agreement between two arrays of probabilities [texts, labels]."""
    same = reference.argmax(axis=1) == found.argmax(axis=1)
    at_border = np.abs(reference.max(axis=1) - 0.5) <= BORDER
    difference = np.abs(reference - found).max(axis=1)
    return Agreement(
        texts=len(reference),
        same_label=int(same.sum()),
        excused=int((~same & at_border).sum()),
        mean_difference=float(difference.mean()),
        largest_difference=float(difference.max()),
    )


def review_texts() -> list[str]:
    """The texts that the load sends.

    Raises:
        FileNotFoundError: the file is not there.
    """
    return _column(REVIEWS)


def harder_texts(count: int = HARDER_TEXTS, seed: int = 1) -> list[str]:
    """Texts that a classifier is less sure of: no text twice, and always the same texts for the same seed.

    Each is one to four random sentences that praise or complain by stating facts, so the sentences often contradict
    each other. Every tenth text has no capitals and no punctuation, every tenth has two letters swapped, and every
    fiftieth is long.
    """
    sentences = _column(HARD_SENTENCES)
    rng = random.Random(seed)  # noqa: S311  reproducibility is what is needed
    made: dict[str, None] = {}
    while len(made) < count:
        number = len(made)
        how_many = rng.randint(15, 25) if number % 50 == 0 else rng.choices((1, 2, 3, 4), weights=(35, 35, 20, 10))[0]
        text = " ".join(rng.sample(sentences, how_many))
        if number % 10 == 1:
            text = "".join(letter for letter in text.lower() if letter.isalnum() or letter == " ")
        elif number % 10 == 2:
            at = rng.randrange(len(text) - 1)
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        made[text] = None
    return list(made)


def _column(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]
