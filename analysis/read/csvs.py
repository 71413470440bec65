"""Reads a run's CSV files. A whole file is read fast. An error names the file and the line.

A file is never repaired. A last row that a killed process did not finish is left out. Any other row that no recorder
writes makes the file unreadable, because the rows around it can't be trusted either.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_string_dtype

from analysis.read.columns_read import Numbers, Texts, count_lines
from runfiles.columns import Column

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NO_FRAME = (ValueError, OverflowError, pd.errors.ParserError)
"""What pandas raises if a file does not have these columns."""

MOST_BYTES = 12 * 2**30
"""A larger file would not fit into the memory: some 80 million requests."""
ROWS_AT_ONCE = 2**18
"""So many rows of a file are read at once."""
MOST_COLUMNS = 1000
MOST_OF_A_LINE = 2**20
"""Of the first line: a file of a single line would otherwise be read whole into the memory."""

Columns = Mapping[str, Column]
"""The columns of a file by their names."""


class UnreadableFile(Exception):
    """A file that is not what a recorder leaves. The message names it, the line and what is wrong there."""


class _WrongRow(Exception):
    """A row that no recorder writes."""


def read_csv(path: Path, columns: Sequence[Column], *, is_large: bool = False) -> pd.DataFrame:
    """Read those columns of a file that are analysed, with the rows in the order of time.

    A file that does not exist gives a frame without rows. A column that the file lacks because it was recorded before
    the column's ``since`` is NaN.

    Args:
        path: the file.
        columns: its columns. The first one is the time of a row. They may stand in any order, with others among them.
        is_large: keep each count in the smallest type that holds all of its column exactly. Otherwise all numbers are
            float64.

    Raises:
        UnreadableFile: a column is missing, or a row is not what a recorder writes.
    """
    wanted = {column.name: column for column in columns if column.is_analysed}
    try:
        if not path.exists():
            return _empty(wanted)
        _refuse_impossible(path)
        if path.stat().st_size == 0:
            return _empty(wanted)
        frame = _as_it_lies(path, wanted, is_large)
        if frame is None:
            content = path.read_bytes()
            if b"\0" in content[content.rfind(b"\n") + 1 :]:
                raise UnreadableFile(f"{path} can't be read (it ends in bytes of zero: rows were not written)")
            frame = _with_care(path, _whole_rows(content), wanted, is_large)
    except OSError as error:
        raise UnreadableFile(f"{path} can't be read ({error.strerror})") from error
    return frame


def _refuse_impossible(path: Path) -> None:
    """Refuse a file that would keep the reader waiting, or fill the memory.

    Raises:
        UnreadableFile: it is not a file, is too large, has a hole, or its first line has no end.
    """
    if not path.is_file():
        raise UnreadableFile(f"{path} can't be read (it is not a file)")
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size > MOST_BYTES:
            raise UnreadableFile(f"{path} can't be read (it is larger than {MOST_BYTES / 2**30:.0f} GiB)")
        hole = os.lseek(file.fileno(), 0, os.SEEK_HOLE) if size else 0
        if hole < size:
            raise UnreadableFile(f"{path} can't be read (nothing was written from byte {hole:,} on)")
        file.seek(0)
        first = file.readline(MOST_OF_A_LINE)
    if b"\0" in first:
        raise UnreadableFile(f"{path}, line 1: this is no text, but bytes of zero")
    if len(first) == MOST_OF_A_LINE or first.count(b",") >= MOST_COLUMNS:
        raise UnreadableFile(f"{path}, line 1: it is longer than any header")


def _empty(wanted: Columns) -> pd.DataFrame:
    types = {name: "object" if column.unit.is_text else "float" for name, column in wanted.items()}
    return pd.DataFrame({name: pd.Series(dtype=type_) for name, type_ in types.items()})


def _as_it_lies(path: Path, wanted: Columns, is_large: bool) -> pd.DataFrame | None:
    """Read the file in one go; None if anything in it is not as it should be."""
    with path.open("rb") as file:
        first = file.readline()
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            return None
    try:
        there = _header(path, first.removeprefix(BYTE_ORDER_MARK), wanted)
        return _frame(path, there, wanted, is_large)
    except (_WrongRow, UnreadableFile, *NO_FRAME):
        return None


def _with_care(path: Path, whole: bytes, wanted: Columns, is_large: bool) -> pd.DataFrame:
    """Read the whole rows of a file.

    Raises:
        UnreadableFile: as ``read_csv``, with the line.
    """
    if not whole:
        return _empty(wanted)
    there = _header(path, whole, wanted)
    try:
        return _frame(whole, there, wanted, is_large)
    except (_WrongRow, *NO_FRAME) as error:
        raise UnreadableFile(_where(path, whole, there, str(error))) from error


def _frame(source: Path | bytes, there: Columns, wanted: Columns, is_large: bool) -> pd.DataFrame:
    """The wanted columns of a file, in the order of time: text as categories, numbers as ``is_large`` says. ``there``:
    those that the file has.

    Raises:
        _WrongRow: a row is none.
    """
    texts = {name for name, column in there.items() if column.unit.is_text}
    read = None
    like_numbers: set[str] = set()
    while read is None:  # pandas makes numbers of categories that all look like numbers
        read = _read(source, there, texts, like_numbers, is_large)
    time = read[next(iter(wanted))].values
    is_in_order = (time[1:] >= time[:-1]).all()
    order = None if is_in_order else np.argsort(time, kind="stable")
    columns: dict[str, Any] = {}
    for name in wanted:
        own = read.pop(name, None)
        if own is None:
            columns[name] = np.full(len(time), np.nan, np.float16 if is_large else float)
        else:
            columns[name] = own.in_order(order)
    return pd.DataFrame(columns, copy=False)


def _read(
    source: Path | bytes, there: Columns, texts: set[str], like_numbers: set[str], is_large: bool
) -> dict[str, Numbers | Texts] | None:
    """The columns of a file; None if a text looks like a number, and is in ``like_numbers`` now.

    The file is read in pieces, so that the memory holds little more than the result.

    Raises:
        _WrongRow: a row is none.
    """
    types = {name: "float64" if name not in texts else "str" if name in like_numbers else "category" for name in there}
    most = count_lines(source)
    read = {
        name: Texts(most) if name in texts else Numbers(most, column.unit, is_large) for name, column in there.items()
    }
    count = 0
    with pd.read_csv(
        io.BytesIO(source) if isinstance(source, bytes) else source,
        usecols=list(types),
        dtype=types,
        index_col=False,
        keep_default_na=False,
        na_values={name: [""] for name in types if name not in texts},
        encoding="utf-8",
        chunksize=ROWS_AT_ONCE,
    ) as parts:
        for part in parts:
            rows = part.astype(dict.fromkeys(like_numbers, "category"))
            if numbers := {name for name in texts if not is_string_dtype(rows[name].cat.categories)}:
                like_numbers |= numbers
                return None
            # pandas raises for a row that is too long. It fills a row that is too short with NaN, which is found here.
            if (wrong := _first_wrong(rows, there)) is not None:
                raise _WrongRow(f"row {count + wrong + 1} is none")
            for name, own in read.items():
                own.add(rows[name])
            count += len(rows)
    return read


def _header(path: Path, whole: bytes, wanted: Columns) -> dict[str, Column]:
    """Which of the wanted columns the file has.

    Raises:
        UnreadableFile: one is there twice, or one is missing that every file has.
    """
    try:
        header = next(csv.reader([whole[: whole.index(b"\n")].decode("utf-8")]), [])
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{path}, line 1: this is no text in UTF-8") from error
    except csv.Error as error:
        raise UnreadableFile(f"{path}, line 1: this is no CSV ({error})") from error
    lacking = [name for name, column in wanted.items() if name not in header and not column.since]
    if lacking:
        raise UnreadableFile(f"{path}, line 1: there is no column {', '.join(lacking)}; is this a file of Fourfold's?")
    twice = sorted({name for name in wanted if header.count(name) > 1})
    if twice:
        raise UnreadableFile(f"{path}, line 1: the column {', '.join(twice)} stands there twice")
    return {name: column for name, column in wanted.items() if name in header}


def _first_wrong(frame: pd.DataFrame, columns: Columns) -> int | None:
    """The first row that no recorder writes: a needed value is empty, or a value is outside its unit's limits."""
    wrong = np.zeros(len(frame), dtype=bool)
    for name, column in columns.items():
        values = frame[name]
        if column.unit.is_text:
            bad = [text for text in values.cat.categories if _wrong_text(column, text)]
            if bad or (column.is_needed and values.hasnans):
                wrong |= (values.isin(bad) | values.isna()).to_numpy()
            continue
        numbers = values.to_numpy()
        least, most = column.unit.least, column.unit.most
        if len(numbers) and not (least <= np.fmin.reduce(numbers) and np.fmax.reduce(numbers) <= most):
            wrong |= (numbers < least) | (numbers > most)
        if column.is_needed:
            wrong |= np.isnan(numbers)
    return int(wrong.argmax()) if wrong.any() else None


def _wrong_text(column: Column, text: str) -> str | None:
    """What is wrong with a text; None if nothing is."""
    unit = column.unit
    if not text and column.is_needed:
        return "is empty"
    if unit.words and text not in unit.words:
        return f"is {text[:40]!r}, not {' or '.join(unit.words)}"
    if len(text) > unit.most:
        return f"is longer than {unit.most:g} characters"
    return None


def _wrong_number(column: Column, text: str) -> str | None:
    """What is wrong with the text of a number; None if nothing is."""
    try:
        number = float(text)
    except ValueError:
        return f"is {text[:40]!r}, which is no number"
    if not column.unit.least <= number <= column.unit.most:
        return f"is {text[:40]}, which can't have been measured"
    return None


def _where(path: Path, whole: bytes, columns: Columns, said: str) -> str:
    """The first line that is wrong, and why. It is found by reading slowly what could not be read fast."""
    limit = csv.field_size_limit(len(whole) + 1)
    try:
        lines = csv.reader(io.StringIO(whole.decode("utf-8"), newline=""), strict=True)
        header = next(lines)
        first_line = lines.line_num + 1
        for row in lines:
            if row and (problem := _problem(row, header, columns)):
                return f"{path}, line {first_line}: {problem}"
            first_line = lines.line_num + 1
    except UnicodeDecodeError as error:
        line = whole[: error.start].count(b"\n") + 1
        return f"{path}, line {line}: this is no text in UTF-8"
    except csv.Error as error:
        return f"{path}, line {first_line}: this is no CSV ({error})"
    finally:
        csv.field_size_limit(limit)
    return f"{path} can't be read ({' '.join(said.split())})"


def _problem(row: Sequence[str], header: Sequence[str], columns: Columns) -> str | None:
    """What is wrong with a row; None if nothing is."""
    if len(row) != len(header):
        return f"{len(row)} fields where the header has {len(header)}"
    values = dict(zip(header, row, strict=True))
    for name, column in columns.items():
        wrong = _wrong_text if column.unit.is_text or not values[name] else _wrong_number
        if reason := wrong(column, values[name]):
            return f"{name} {reason}"
    return None


def _whole_rows(content: bytes) -> bytes:
    """``content`` up to the end of its last whole row, with its line ended and its quotes closed."""
    whole = content[: content.rfind(b"\n") + 1].removeprefix(BYTE_ORDER_MARK)
    if whole.count(b'"') % 2 == 0:
        return whole
    quotes, end, closed = 0, 0, 0
    for line in whole.splitlines(keepends=True):
        quotes += line.count(b'"')
        end += len(line)
        if quotes % 2 == 0:
            closed = end
    return whole[:closed]
