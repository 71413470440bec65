"""Columns that grow piece by piece while a file is read, each in one array that takes as little memory as it can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from runfiles.columns import BYTES, HTTP_STATUS, NUMBER, YES_OR_NO, Unit

COUNTS = (NUMBER, BYTES, HTTP_STATUS, YES_OR_NO)
"""The units of whole numbers."""
BYTES_AT_ONCE = 2**22


class Growing:
    """An array for at most so many values. Memory that no value has been written to is not used."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._array: np.ndarray | None = None
        self._count = 0

    @property
    def values(self) -> np.ndarray:
        return np.empty(0, np.int8) if self._array is None else self._array[: self._count]

    def append(self, piece: np.ndarray) -> None:
        """Add some values. The type becomes one that holds exactly what both held."""
        type_ = piece.dtype if self._array is None else np.result_type(self._array, piece)
        if self._array is None or type_ != self._array.dtype:
            before, self._array = self.values, np.empty(self._most, type_)
            self._array[: self._count] = before
        self._array[self._count : self._count + len(piece)] = piece
        self._count += len(piece)


class Numbers(Growing):
    """A column of numbers. If ``is_small``, it has the smallest type that holds them all exactly; else float64."""

    def __init__(self, most: int, unit: Unit, is_small: bool) -> None:
        super().__init__(most)
        self._unit = unit
        self._is_small = is_small

    def add(self, piece: pd.Series) -> None:
        numbers = piece.to_numpy()
        self.append(smallest(numbers, self._unit) if self._is_small else numbers)

    def in_order(self, order: np.ndarray | None) -> np.ndarray:
        """The values, or those at these places one after the other."""
        return self.values if order is None else self.values[order]


class Texts(Growing):
    """A column of texts, each of which is there many times: categories in the order of the alphabet."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._codes: dict[str, int] = {}

    def add(self, piece: pd.Series) -> None:
        new = [self._codes.setdefault(text, len(self._codes)) for text in piece.cat.categories]
        type_ = np.min_scalar_type(-max(1, len(self._codes)))
        codes = np.array([*new, -1], dtype=type_)  # the code of a value that is missing is -1
        self.append(codes[piece.cat.codes.to_numpy()])

    def in_order(self, order: np.ndarray | None) -> pd.Categorical:
        """As ``Numbers.in_order``."""
        texts = sorted(self._codes)
        places = np.full(len(texts) + 1, -1, dtype=self.values.dtype)
        for place, text in enumerate(texts):
            places[self._codes[text]] = place
        codes = places[self.values]
        dtype = pd.CategoricalDtype(pd.Index(texts, dtype="str"))
        return pd.Categorical.from_codes(codes if order is None else codes[order], dtype=dtype, validate=False)


def smallest(numbers: np.ndarray, unit: Unit) -> np.ndarray:
    """The numbers in the smallest type that holds them all exactly, and with which all can be computed that is.

    Times stay float64, as they are subtracted from each other. Counts without a missing value become integers, whose
    sums are exact.
    """
    missing = np.isnan(numbers)
    if missing.all():
        return numbers.astype(np.float16)
    if unit not in COUNTS:
        return numbers
    with np.errstate(invalid="ignore", over="ignore"):
        for small in (np.float32,) if missing.any() else (np.uint8, np.uint16, np.uint32):
            held = numbers.astype(small)
            if np.array_equal(held, numbers, equal_nan=True):
                return held
    return numbers


def count_lines(source: Path | bytes) -> int:
    """How many lines a file has: at least as many as rows."""
    if isinstance(source, bytes):
        return source.count(b"\n") + 1
    count = 1
    with source.open("rb") as file:
        while block := file.read(BYTES_AT_ONCE):
            count += block.count(b"\n")
    return count
