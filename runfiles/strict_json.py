"""Reading a JSON record as strictly as JSON is defined."""

from __future__ import annotations

import json
import math
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_RECORD_BYTES = 50 * 10**6
"""A JSON record that is larger is not one of ours, and is not read. ``experiment.json`` of 100 rounds has 0.3 MB."""


def read_record(path: Path) -> Any:
    """The content of a JSON file, as strictly as JSON is defined.

    Raises:
        OSError: it can't be read.
        ValueError: it is not a file, is larger than ``MOST_RECORD_BYTES``, or holds what no recorder writes: no JSON,
            a number that is not finite or beyond 64 bits, half a surrogate, a key twice. The message says which.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # a FIFO would keep whoever opens it waiting
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        content = file.read(MOST_RECORD_BYTES + 1)
    if len(content) > MOST_RECORD_BYTES:
        raise ValueError(f"it is larger than {MOST_RECORD_BYTES / 1e6:.0f} MB")
    return parse_record(content)


def parse_record(content: bytes) -> Any:
    """The value that is written in JSON.

    Raises:
        ValueError: as ``read_record``.
    """
    try:
        said = json.loads(
            content.decode("utf-8"),
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_object,
        )
        if reason := _why_not(said):
            raise ValueError(reason)
    except UnicodeDecodeError as error:
        raise ValueError("it is not text in UTF-8") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return said


@dataclass(frozen=True)
class _NoNumber:
    """What stands where a number should, until it is known at which key."""

    reason: str


def _finite(text: str) -> float | _NoNumber:
    number = float(text)
    return number if math.isfinite(number) else _NoNumber(f"{text[:40]} is not a finite number")


def _whole(text: str) -> int | _NoNumber:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        return _NoNumber(f"{text[:40]} is a number beyond 64 bits")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice[:40]!a} is there twice")
    for name, value in pairs:
        if reason := _why_not(name) or _why_not(value):
            raise ValueError(f"{name[:40]!a}: {reason}")
    return found


def _why_not(value: Any) -> str | None:
    """Why no recorder writes ``value``; None where one may. What lies in an object within it was looked at before."""
    if isinstance(value, _NoNumber):
        return value.reason
    if isinstance(value, list):
        return next(filter(None, map(_why_not, value)), None)
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return "half a surrogate, which is no character"
    return None
