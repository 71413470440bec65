"""What Fourfold's options may be: on the command line, in the environment and in the web UI's form."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from _replicas import replicas_argument

from runfiles.files import (
    MACHINE_STATS_SUFFIX,
    REPLICA_EVENTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REQUESTS_SUFFIX,
    RUN_RECORD_SUFFIX,
)

from _monitor import LEAST_INTERVAL_S

LOCUSTS_SUFFIXES = ("_counters.csv", "_stats_history.csv", "_failures.csv", "_exceptions.csv")
SUFFIXES = (
    REQUESTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REPLICA_EVENTS_SUFFIX,
    MACHINE_STATS_SUFFIX,
    RUN_RECORD_SUFFIX,
)


def seconds(text: str) -> float:
    """``--warm-up``: a finite number of seconds that is not negative."""
    number = _number(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return number


def interval(text: str) -> float:
    """``--replica-interval``: seconds between two samples."""
    number = _number(text)
    if not LEAST_INTERVAL_S <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, {LEAST_INTERVAL_S:g} or more")
    return number


def count(text: str) -> int:
    """``--requests``: a whole number above 0."""
    number = _whole(text)
    if number is None or not 0 < number < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return number


def seed(text: str) -> int:
    """``--seed``: a whole number."""
    number = _whole(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    if not -(2**63) <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 64 bits")
    return number


@cache  # Locust reads its command line again for each page of its web UI
def prefix(text: str) -> str:
    """``--csv``: all files of a run can be written there. Makes the folder, as Locust does."""
    path = Path(text + RUN_RECORD_SUFFIX)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (*SUFFIXES, *LOCUSTS_SUFFIXES):
            path = Path(text + suffix)
            was_there = path.exists()
            if was_there and not path.is_file():
                raise argparse.ArgumentTypeError(f"{path} is there and is not a file; choose another prefix")
            path.open("ab").close()
            if not was_there:
                path.unlink()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise argparse.ArgumentTypeError(f"{path} can't be written ({reason}); choose another prefix") from error
    return text


FIELDS: Mapping[str, Callable[[str], Any]] = {
    "warm_up": seconds,
    "replica_interval": interval,
    "seed": seed,
    "replicas": replicas_argument,
    "requests": count,
}
"""Fourfold's own fields of the web UI's form -> what checks each."""


def take_fields(form: Mapping[str, str], options: dict[str, Any], at_start: Mapping[str, Any]) -> list[str]:
    """Put the form's own fields into Locust's options; what was wrong with them.

    In place of a field that can't be used, the value is used that Locust was started with (``at_start``).
    """
    wrong = []
    for name in FIELDS.keys() & form.keys():
        text = form[name].strip()
        try:
            options[name] = None if name == "requests" and not text else FIELDS[name](text)
        except argparse.ArgumentTypeError as error:
            options[name] = at_start[name]
            given = error if text else "the field was empty"
            used = "no limit" if at_start[name] is None else at_start[name]
            wrong.append(f"{name.replace('_', ' ')} of the web UI's form: {given}; {used} was used")
    if "run_time" in form and not form["run_time"].strip():
        options["run_time"] = None  # Locust would keep that of the run before, which does not end this one
    return wrong


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,1000}", text) else None
