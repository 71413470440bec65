"""The texts that are replayed as load: enough of them, different ones, of every kind, and readable as plain CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path

import pytest

REVIEWS_FILE = Path(__file__).parents[1] / "texts" / "reviews.csv"
COLUMNS = ["id", "label", "category", "text"]
LABELS = {"positive", "negative", "mixed", "neutral"}
CATEGORIES = {
    "short phrase",
    "clearly positive",
    "clearly negative",
    "mixed opinion",
    "question",
    "negation",
    "film review",
    "punctuation",
}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with REVIEWS_FILE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_there_are_160_different_texts_numbered_in_order(rows: list[dict[str, str]]) -> None:
    assert [int(row["id"]) for row in rows] == list(range(1, 161))
    assert len({row["text"] for row in rows}) == 160


def test_the_first_text_is_the_short_one_that_smoke_tests_send(rows: list[dict[str, str]]) -> None:
    assert rows[0]["text"] == "This movie was fantastic!"


def test_every_label_is_known_and_used(rows: list[dict[str, str]]) -> None:
    assert {row["label"] for row in rows} == LABELS


def test_each_category_has_20_texts(rows: list[dict[str, str]]) -> None:
    assert Counter(row["category"] for row in rows) == Counter(dict.fromkeys(CATEGORIES, 20))


def test_any_window_of_the_file_has_a_similar_mix(rows: list[dict[str, str]]) -> None:
    for start in range(0, 160, 8):
        assert {row["category"] for row in rows[start : start + 8]} == CATEGORIES


def test_a_text_is_one_line_without_spaces_around_it(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert row["text"].splitlines() == [row["text"].strip()] != [""]


def test_film_reviews_are_35_to_60_words_long(rows: list[dict[str, str]]) -> None:
    for row in rows:
        if row["category"] == "film review":
            assert 35 <= len(row["text"].split()) <= 60, row["text"]


def test_many_texts_hold_what_breaks_a_careless_csv_reader(rows: list[dict[str, str]]) -> None:
    def is_tricky(text: str) -> bool:
        return "," in text and ('"' in text or any(letter.isalpha() and not letter.isascii() for letter in text))

    assert sum(is_tricky(row["text"]) for row in rows) >= 15


def test_the_csv_module_writes_the_same_file_again(rows: list[dict[str, str]]) -> None:
    written = io.StringIO()
    writer = csv.DictWriter(written, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    assert written.getvalue().encode() == REVIEWS_FILE.read_bytes()
