"""The review texts that every user class replays."""

from __future__ import annotations

import csv
import hashlib
import json
import random
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from runfiles.records import Texts

TEXTS_FILE = Path(__file__).resolve().parents[1] / "texts" / "reviews.csv"


@dataclass(frozen=True)
class Review:
    """A text to classify, its number in the file, and the body of the request that sends it."""

    id: int
    text: str

    @cached_property
    def body(self) -> bytes:
        return json.dumps({"text": self.text}, ensure_ascii=False).encode()


def read_reviews() -> list[Review]:
    """All texts, in the order of the file."""
    with TEXTS_FILE.open(encoding="utf-8", newline="") as file:
        return [Review(int(row["id"]), row["text"]) for row in csv.DictReader(file)]


def in_order(reviews: list[Review], seed: int) -> list[Review]:
    """The texts in the order in which a load sends them, round after round. Seed 0: the order of the file."""
    return random.Random(seed).sample(reviews, len(reviews)) if seed else reviews  # noqa: S311  no secret


def texts_record(reviews: list[Review]) -> Texts:
    """Which texts a run sent, for its record: runs with different texts can't be compared."""
    # An editor or Git may change the line ends. The digest stays the same.
    content = TEXTS_FILE.read_bytes().replace(b"\r\n", b"\n")
    return Texts(file=TEXTS_FILE.name, sha256=hashlib.sha256(content).hexdigest(), count=len(reviews))
