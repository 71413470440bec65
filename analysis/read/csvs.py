"""Reading a run's CSV files: fast where they are whole, and with the file and the line where they are not.

A file is never repaired. A last row that a killed process did not finish is not a row; any other row that can't be what
a recorder wrote makes the file unreadable, because what lies around it can't be trusted either.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_string_dtype

from runfiles.columns import Column
from runfiles.events import MEASURED, WARM_UP
from runfiles.fields import FIRST_UNIX_S, LAST_UNIX_S

TEXT_COLUMNS = {
    "error",
    "replica",
    "replica_id",
    "node",
    "phase",
    "event",
    "generation",
    "detail",
    "state",
    "interfaces",
}
LATE_COLUMNS_READ = {"throttled_seconds"}
"""Of the columns that earlier versions did not write, those that a figure is made of."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NO_FRAME = (ValueError, OverflowError, pd.errors.ParserError)
"""What pandas raises over a file that is not of these columns."""

MOST_BYTES = 2 * 2**30
"""A larger file would not fit into the memory: some 20 million requests."""
MOST_COLUMNS = 1000
MOST_OF_A_LINE = 2**20
"""Of the first line: a file without any other would be read whole into the memory."""
MOST_OF_A_NAME = 1000
"""Characters of what names a replica."""

RANGES = {
    "read_at_unix_s": (0, LAST_UNIX_S),  # by a clock that may never have been set
    "_unix_s": (FIRST_UNIX_S, LAST_UNIX_S),
    "status": (0, 999),
    "connection_reused": (0, 1),
    "_bytes": (0, 2**60),
    "response_time_ms": (1e-6, 1e9),
    "_ms": (0, 1e9),
    "_percent": (0, 1e7),
    "_seconds": (0, 1e10),
    "": (0, 1e12),
}
"""End of a column's name -> between which values its numbers lie; the first that fits counts."""
SHORT_COLUMNS = ("replica", "replica_id", "node")

PHASES = (WARM_UP, MEASURED)


class UnreadableFile(Exception):
    """A file that is not what a recorder leaves. The message names it, the line and what is wrong there."""


def read_csv(path: Path, columns: Sequence[Column], needed: Sequence[str]) -> pd.DataFrame:
    """The file as a frame, in the order of time; without rows where there is no file.

    Args:
        path: the file.
        columns: which columns its form has. Columns may stand in any order, and others beside them.
        needed: which of them no row may leave empty. The first says when a row is from.

    Raises:
        UnreadableFile: it has not these columns, or a row that can't be one.
    """
    wanted = {one.name: one for one in columns if not one.is_late or one.name in LATE_COLUMNS_READ}
    try:
        if not path.exists():
            return _empty(wanted)
        _refuse_impossible(path)
        if path.stat().st_size == 0:
            return _empty(wanted)
        frame = _as_it_lies(path, wanted, needed)
        if frame is None:
            content = path.read_bytes()
            if b"\0" in content[content.rfind(b"\n") + 1 :]:
                raise UnreadableFile(f"{path} can't be read (it ends in bytes of zero: rows were not written)")
            frame = _with_care(path, _whole_rows(content), wanted, needed)
    except OSError as error:
        raise UnreadableFile(f"{path} can't be read ({error.strerror})") from error
    for name in set(wanted) - set(frame):
        frame[name] = np.nan
    frame = frame[list(wanted)]
    if not frame[needed[0]].is_monotonic_increasing:
        frame = frame.sort_values(needed[0], kind="stable", ignore_index=True)
    return frame


def _refuse_impossible(path: Path) -> None:
    """What would keep the reader waiting, or fill the memory.

    Raises:
        UnreadableFile: it is no file, is too large, has a hole, or a first line without an end.
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


def _empty(wanted: Mapping[str, Column]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype="object" if name in TEXT_COLUMNS else float) for name in wanted})


def _as_it_lies(path: Path, wanted: Mapping[str, Column], needed: Sequence[str]) -> pd.DataFrame | None:
    """The file, read in one go; None where anything of it is not as it should be."""
    with path.open("rb") as file:
        first = file.readline()
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            return None
    try:
        frame = _frame(path, _header(path, first.removeprefix(BYTE_ORDER_MARK), wanted))
    except (UnreadableFile, *NO_FRAME):
        return None
    return frame if _first_wrong(frame, needed) is None else None


def _with_care(path: Path, whole: bytes, wanted: Mapping[str, Column], needed: Sequence[str]) -> pd.DataFrame:
    """The whole rows of a file.

    Raises:
        UnreadableFile: as ``read_csv``, with the line.
    """
    if not whole:
        return _empty(wanted)
    names = _header(path, whole, wanted)
    try:
        frame = _frame(whole, names)
        # A row that is too long raises; one that is too short is filled with NaN, and is found by what it lacks.
        wrong = _first_wrong(frame, needed)
    except NO_FRAME as error:
        raise UnreadableFile(_where(path, whole, names, needed, str(error))) from error
    if wrong is not None:
        raise UnreadableFile(_where(path, whole, names, needed, f"row {wrong + 1} is none"))
    return frame


def _frame(source: Path | bytes, names: Sequence[str]) -> pd.DataFrame:
    """Those columns, text as categories, all else as floats."""

    def read(types: Mapping[str, str]) -> pd.DataFrame:
        return pd.read_csv(
            io.BytesIO(source) if isinstance(source, bytes) else source,
            usecols=list(types),
            dtype=types,
            index_col=False,
            keep_default_na=False,
            na_values={name: [""] for name in types if name not in TEXT_COLUMNS},
            encoding="utf-8",
        )

    frame = read({name: ("category" if name in TEXT_COLUMNS else "float64") for name in names})
    texts = [name for name in names if name in TEXT_COLUMNS]
    # Of categories that all look like numbers pandas has made numbers.
    if numbers := [name for name in texts if not is_string_dtype(frame[name].cat.categories)]:
        frame[numbers] = read(dict.fromkeys(numbers, "str")).astype("category")
    return frame


def _header(path: Path, whole: bytes, wanted: Mapping[str, Column]) -> list[str]:
    """Which of the columns that are wanted there are, all that is needed among them and none of it twice."""
    try:
        header = next(csv.reader([whole[: whole.index(b"\n")].decode("utf-8")]), [])
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{path}, line 1: this is no text in UTF-8") from error
    except csv.Error as error:
        raise UnreadableFile(f"{path}, line 1: this is no CSV ({error})") from error
    lacking = [name for name, column in wanted.items() if name not in header and not column.is_late]
    if lacking:
        raise UnreadableFile(f"{path}, line 1: there is no column {', '.join(lacking)}; is this a file of Fourfold's?")
    twice = sorted({name for name in wanted if header.count(name) > 1})
    if twice:
        raise UnreadableFile(f"{path}, line 1: the column {', '.join(twice)} stands there twice")
    return [name for name in wanted if name in header]


def _first_wrong(frame: pd.DataFrame, needed: Sequence[str]) -> int | None:
    """The first row that can't be one: something needed is empty, or a number is none that was measured."""
    wrong = np.zeros(len(frame), dtype=bool)
    for name in map(str, frame):
        column = frame[name]
        if name in TEXT_COLUMNS:
            bad = [one for one in column.cat.categories if _wrong_text(name, one, needed)]
            if bad or ((name == "phase" or name in needed) and column.hasnans):
                wrong |= (column.isin(bad) | column.isna()).to_numpy()
            continue
        values = column.to_numpy()
        least, most = _range(name)
        if len(values) and not (least <= np.fmin.reduce(values) and np.fmax.reduce(values) <= most):
            wrong |= (values < least) | (values > most)
        if name in needed:
            wrong |= np.isnan(values)
    return int(wrong.argmax()) if wrong.any() else None


def _wrong_text(name: str, value: str, needed: Sequence[str]) -> str | None:
    """What is wrong with a text; None where nothing is."""
    if not value and name in needed:
        return "is empty"
    if name == "phase" and value not in PHASES:
        return f"is {value[:40]!r}, not {' or '.join(PHASES)}"
    if name in SHORT_COLUMNS and len(value) > MOST_OF_A_NAME:
        return f"is longer than {MOST_OF_A_NAME} characters"
    return None


def _range(name: str) -> tuple[float, float]:
    return next(limits for end, limits in RANGES.items() if name.endswith(end))


def _where(path: Path, whole: bytes, names: Sequence[str], needed: Sequence[str], said: str) -> str:
    """The first line that is wrong, and why: found by reading slowly what could not be read fast."""
    limit = csv.field_size_limit(len(whole) + 1)
    try:
        lines = csv.reader(io.StringIO(whole.decode("utf-8"), newline=""), strict=True)
        header = next(lines)
        first_line = lines.line_num + 1
        for row in lines:
            if row and (problem := _problem(dict(zip(header, row, strict=False)), len(row), header, names, needed)):
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


def _problem(
    row: dict[str, str], fields: int, header: list[str], names: Sequence[str], needed: Sequence[str]
) -> str | None:
    if fields != len(header):
        return f"{fields} fields where the header has {len(header)}"
    for name in names:
        value = row[name]
        if name in TEXT_COLUMNS or not value:
            reason = _wrong_text(name, value, needed)
            if reason:
                return f"{name} {reason}"
            continue
        try:
            number = float(value)
        except ValueError:
            return f"{name} is {value[:40]!r}, which is no number"
        least, most = _range(name)
        if not least <= number <= most:
            return f"{name} is {value[:40]}, which can't have been measured"
    return None


def _whole_rows(content: bytes) -> bytes:
    """``content`` up to the end of its last whole row: one whose line is ended and whose quotes are closed."""
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
